{{/* The file of conf/ that the output is. */}}
{{- define "kafka-exporter.output" -}}
{{- if and (eq .Values.output "kafka") .Values.kafka.topic (eq .Values.flavor "fluent-bit") }}kafka-single-topic
{{- else }}{{ .Values.output }}{{ end }}
{{- end }}

{{- define "kafka-exporter.config.main" -}}
{{- eq .Values.flavor "fluentd" | ternary "fluentd.conf" "fluent-bit.conf" }}
{{- end }}

{{- define "kafka-exporter.config.directory" -}}
{{- eq .Values.flavor "fluentd" | ternary "fluentd.d" "output.d" }}
{{- end }}

{{/* Variables of Fluent Bit's configuration that it reads from files, as JSON. */}}
{{- define "kafka-exporter.config.files" -}}
{{- $files := dict -}}
{{- $variables := dict "password" "KAFKA_PASSWORD" "username" "KAFKA_USERNAME" "keyPassword" "KAFKA_KEY_PASSWORD" -}}
{{- range $name, $one := include "kafka-exporter.secrets.kafka" . | fromJson }}
  {{- with index $variables $name }}
    {{- $_ := set $files . (include "kafka-exporter.file" (list "kafka" $name $one)) }}
  {{- end }}
{{- end }}
{{- range $variable, $key := .Values.outputSecret.variables }}
  {{- $_ := set $files $variable (printf "/run/secrets/output/%s" $key) }}
{{- end }}
{{- eq .Values.flavor "fluent-bit" | ternary ($files | toJson) "{}" }}
{{- end }}

{{/*
The files of the log shipper's configuration, as JSON: those of conf/, byte for byte, but for the one line that names the
output.
*/}}
{{- define "kafka-exporter.config" -}}
{{- $main := include "kafka-exporter.config.main" . -}}
{{- $directory := include "kafka-exporter.config.directory" . -}}
{{- $output := printf "%s/%s.conf" $directory (include "kafka-exporter.output" .) -}}
{{- $keyword := eq .Values.flavor "fluentd" | ternary "@include" "@INCLUDE" -}}
{{- $line := printf "\n%s %s/stdout.conf\n" $keyword $directory -}}
{{- $chosen := printf "\n%s %s\n" $keyword $output -}}
{{- $files := dict -}}
{{- with include "kafka-exporter.config.files" . | fromJson }}
  {{- $chosen = printf "\n%s secrets.conf%s" $keyword $chosen }}
  {{- $text := "# What the output must keep secret, each from its file.\n" }}
  {{- range $variable, $file := . }}
    {{- $text = printf "%s@SET %s=file://%s\n" $text $variable $file }}
  {{- end }}
  {{- $_ := set $files "secrets.conf" $text }}
{{- end }}
{{- $text := .Files.Get (printf "conf/%s" $main) -}}
{{- if not (contains $line $text) }}
  {{- fail (printf "conf/%s is not in the chart, or has no line `%s`. In a checkout, conf must be a link to ../../conf." $main (trim $line)) }}
{{- end }}
{{- $_ := set $files $main (replace $line $chosen $text) -}}
{{- $section := eq .Values.output "custom" | ternary .Values.customOutput (.Files.Get (printf "conf/%s" $output)) -}}
{{- if not $section }}{{ fail (printf "conf/%s is not in the chart." $output) }}{{ end }}
{{- $_ := set $files $output $section -}}
{{- $files | toJson }}
{{- end }}
