{{/*
What this chart knows of secrets. Each of nats and kafka has them in one of three places: values (then a Secret of the
chart), a Secret that is there, or nowhere. The result is, in JSON, for each of password, username, token, nkey, creds,
ca, cert, key and keyPassword that there is: the secret's name and key, and the text where the chart has it.
*/}}
{{- define "kafka-exporter.secrets" -}}
{{- $root := index . 0 -}}
{{- $section := index . 1 -}}
{{- $given := index . 2 -}}
{{- $own := printf "%s-%s" (include "kafka-exporter.fullname" $root) $section -}}
{{- $values := index $root.Values $section -}}
{{- $found := dict -}}
{{- /* What is in place of user and password is in a Secret that is there, which then has no password. */}}
{{- $other := or $values.tokenKey $values.nkeyKey $values.credsKey }}
{{- range $name := ternary (list "token" "nkey" "creds") (list "password" "username") (not (empty $other)) }}
  {{- $key := index $values (printf "%sKey" $name) }}
  {{- if and $values.existingSecret $key }}
    {{- $_ := set $found $name (dict "secret" $values.existingSecret "key" $key) }}
  {{- else if and (eq $name "password") $given.password }}
    {{- $_ := set $found $name (dict "secret" $own "key" $name "text" (toString $given.password)) }}
  {{- end }}
{{- end }}
{{- range $name, $file := dict "ca" "ca.crt" "cert" "tls.crt" "key" "tls.key" "keyPassword" "tls.pass" }}
  {{- $key := index $values.tls (printf "%sKey" $name) }}
  {{- $text := index $given $name | toString }}
  {{- if $values.tls.existingSecret }}
    {{- if $key }}
      {{- $_ := set $found $name (dict "secret" $values.tls.existingSecret "key" $key "file" $file) }}
    {{- end }}
  {{- else if $text }}
    {{- if ne $name "keyPassword" }}
      {{- $text = include "kafka-exporter.pem" (list $text (index $given.names $name)) }}
    {{- end }}
    {{- $_ := set $found $name (dict "secret" $own "key" $file "file" $file "text" $text) }}
  {{- end }}
{{- end }}
{{- $found | toJson }}
{{- end }}

{{/* PEM, or the base64 of it, as PEM. */}}
{{- define "kafka-exporter.pem" -}}
{{- $text := index . 0 | trim -}}
{{- if not (contains "-----BEGIN " $text) }}
  {{- $text = b64dec (nospace $text) }}
  {{- if not (contains "-----BEGIN " $text) }}
    {{- fail (printf "%s is neither PEM (-----BEGIN ...) nor base64 of it." (index . 1)) }}
  {{- end }}
{{- end }}
{{- $text }}
{{- end }}

{{- define "kafka-exporter.secrets.nats" -}}
{{- $global := .Values.global -}}
{{- $nats := .Values.nats -}}
{{- $certs := $global.certs -}}
{{- $given := dict "password" (empty $nats.existingSecret | ternary ($nats.password | default $global.accounts.nats.pass) "") -}}
{{- $names := dict -}}
{{- $former := dict "ca" $certs.ca.system.chain "cert" $certs.bootstrap.cert "key" $certs.bootstrap.key "keyPassword" $certs.bootstrap.pass -}}
{{- $called := dict "ca" "ca.system.chain" "cert" "bootstrap.cert" "key" "bootstrap.key" "keyPassword" "bootstrap.pass" -}}
{{- range $name, $value := $former }}
  {{- $own := index $nats.tls $name }}
  {{- $_ := set $given $name ($own | default $value | default "") }}
  {{- $_ := set $names $name (empty $own | not | ternary (printf "nats.tls.%s" $name) (printf "global.certs.%s" (index $called $name))) }}
{{- end }}
{{- include "kafka-exporter.secrets" (list . "nats" (set $given "names" $names)) }}
{{- end }}

{{- define "kafka-exporter.secrets.kafka" -}}
{{- if ne .Values.output "kafka" }}{}{{ else }}
{{- $kafka := .Values.kafka -}}
{{- $given := dict "password" $kafka.password -}}
{{- $names := dict -}}
{{- range $name := list "ca" "cert" "key" "keyPassword" }}
  {{- $_ := set $given $name (index $kafka.tls $name) }}
  {{- $_ := set $names $name (printf "kafka.tls.%s" $name) }}
{{- end }}
{{- include "kafka-exporter.secrets" (list . "kafka" (set $given "names" $names)) }}
{{- end }}
{{- end }}

{{- define "kafka-exporter.nats.user" -}}
{{- .Values.nats.user | default .Values.global.accounts.nats.user }}
{{- end }}

{{/* The file of a secret in a container: (list section name secret) */}}
{{- define "kafka-exporter.file" -}}
/run/secrets/{{ index . 0 }}/{{ (index . 2).file | default (index . 1) }}
{{- end }}

{{/* What a volume has of the secrets found, by Secret: (list name found) */}}
{{- define "kafka-exporter.volume" -}}
{{- $secrets := dict -}}
{{- range $name, $one := index . 1 }}
  {{- $item := dict "key" $one.key "path" ($one.file | default $name) }}
  {{- $_ := set $secrets $one.secret (append (index $secrets $one.secret | default list) $item) }}
{{- end }}
- name: {{ index . 0 }}
  projected:
    defaultMode: 0440
    sources:
      {{- range $secret, $items := $secrets }}
      - secret:
          name: {{ $secret }}
          items: {{- toYaml $items | nindent 12 }}
      {{- end }}
{{- end }}
