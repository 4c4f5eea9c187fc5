{{- define "kafka-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kafka-exporter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "kafka-exporter.selector" -}}
app.kubernetes.io/name: {{ include "kafka-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* name and everything else that every object has; (list . "-suffix") */}}
{{- define "kafka-exporter.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := index . 2 | default dict -}}
{{- $annotations := index . 3 | default dict -}}
name: {{ include "kafka-exporter.fullname" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "kafka-exporter.selector" $root | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  {{- with merge (dict) $labels $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) $annotations $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kafka-exporter.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "kafka-exporter.fullname" .) "default") }}
{{- end }}

{{/* (list image registry tag) */}}
{{- define "kafka-exporter.image" -}}
{{- $image := index . 0 -}}
{{- with index . 1 }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ index . 2 }}{{ end }}
{{- end }}

{{- define "kafka-exporter.consumer.image" -}}
{{- $image := .Values.consumer.image -}}
{{- include "kafka-exporter.image" (list $image (.Values.global.imageRegistry | default $image.registry) ($image.tag | default .Chart.AppVersion)) }}
{{- end }}

{{/* Names of Secrets to pull images with: names, or maps whose values are names, as the original had them. */}}
{{- define "kafka-exporter.pullSecrets" -}}
{{- range .Values.global.imagePullSecrets }}
{{- $names := list . }}
{{- if kindIs "map" . }}{{ $names = values . }}{{ end }}
{{- range $names }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Templates in what users give, a text or a structure: (list value root) */}}
{{- define "kafka-exporter.tpl" -}}
{{- $value := index . 0 -}}
{{- tpl (kindIs "string" $value | ternary $value (toYaml $value)) (index . 1) }}
{{- end }}

{{/* A value as the text that a program reads: no exponent, and what YAML made of on and off. */}}
{{- define "kafka-exporter.text" -}}
{{- if kindIs "bool" . }}{{ ternary "on" "off" . }}
{{- else if and (kindIs "slice" .) . (kindIs "map" (first .)) }}{{ toJson . }}
{{- else if kindIs "slice" . }}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{/* Whether there is a value, which may be 0: "true", or nothing. */}}
{{- define "kafka-exporter.given" -}}
{{- if not (or (kindIs "invalid" .) (eq (toString .) "")) }}true{{ end }}
{{- end }}

{{/* Values that may be a list or comma-separated. */}}
{{- define "kafka-exporter.brokers" -}}
{{- include "kafka-exporter.text" .Values.kafka.brokers | nospace }}
{{- end }}

{{- define "kafka-exporter.log" -}}
{{- $level := .Values.log.level | default .Values.global.log.level | default "info" -}}
{{- $format := .Values.log.format | default .Values.global.log.format | default "json" -}}
{{- dict "level" $level "format" $format | toJson }}
{{- end }}

{{/* Whether the log shipper is a native sidecar: "true", or nothing. */}}
{{- define "kafka-exporter.native" -}}
{{- $wanted := .Values.fluent.nativeSidecar | toString -}}
{{- $able := semverCompare ">=1.29-0" .Capabilities.KubeVersion.Version -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") $able) }}true{{ end }}
{{- end }}

{{/* Whether pods keep their name and their volume: "true", or nothing. */}}
{{- define "kafka-exporter.stateful" -}}
{{- if .Values.persistence.enabled }}true{{ end }}
{{- end }}

{{- define "kafka-exporter.autoscaled" -}}
{{- if or .Values.autoscaling.enabled .Values.keda.enabled }}true{{ end }}
{{- end }}

{{- define "kafka-exporter.target" -}}
apiVersion: apps/v1
kind: {{ include "kafka-exporter.stateful" . | eq "true" | ternary "StatefulSet" "Deployment" }}
name: {{ include "kafka-exporter.fullname" . }}
{{- end }}

{{- define "kafka-exporter.spool" -}}
{{- $mode := include "kafka-exporter.text" .Values.spool.mode -}}
{{- if ne $mode "off" }}{{ $mode }}{{ end }}
{{- end }}

{{/*
Seconds that a stop takes: the consumer's wait for acknowledgements, then the log shipper's. That of Fluent Bit is Grace
of fluent-bit.conf twice, for its chunks and for what its Kafka client has queued, and a second to see the signal.
Fluentd was seen to take 28 while Kafka was away.
*/}}
{{- define "kafka-exporter.grace" -}}
{{- $fluent := eq .Values.flavor "fluentd" | ternary 30 21 -}}
{{- .Values.terminationGracePeriodSeconds | default (add .Values.consumer.shutdownTimeoutSeconds $fluent 10) }}
{{- end }}
