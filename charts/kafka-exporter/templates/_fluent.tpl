{{- define "kafka-exporter.fluent.env" -}}
{{- $fluentd := eq .Values.flavor "fluentd" -}}
- name: HTTP_LISTEN
  value: 0.0.0.0
{{- if eq .Values.output "kafka" }}
{{- $kafka := .Values.kafka }}
{{- $found := include "kafka-exporter.secrets.kafka" . | fromJson }}
- name: KAFKA_BROKERS
  value: {{ include "kafka-exporter.brokers" . | quote }}
{{- with $kafka.topic }}
- name: KAFKA_TOPIC
  value: {{ . | quote }}
{{- end }}
{{- with $kafka.topics }}
- name: KAFKA_TOPICS
  value: {{ include "kafka-exporter.text" . | quote }}
{{- end }}
- name: KAFKA_SECURITY_PROTOCOL
  value: {{ $kafka.securityProtocol }}
- name: KAFKA_SASL_MECHANISM
  value: {{ $kafka.saslMechanism }}
{{- with $kafka.username }}
- name: KAFKA_USERNAME
  value: {{ . | quote }}
{{- end }}
{{- $variables := dict "ca" "KAFKA_CA_FILE" "cert" "KAFKA_CERT_FILE" "key" "KAFKA_KEY_FILE" }}
{{- if $fluentd }}{{ $_ := set $variables "password" "KAFKA_PASSWORD_FILE" }}{{ end }}
{{- range $name, $one := $found }}
{{- with index $variables $name }}
- name: {{ . }}
  value: {{ include "kafka-exporter.file" (list "kafka" $name $one) }}
{{- end }}
{{- end }}
{{- if $fluentd }}
{{- /* fluentd.d/kafka.conf takes these two from the environment alone. */}}
{{- range $name, $variable := dict "username" "KAFKA_USERNAME" "keyPassword" "KAFKA_KEY_PASSWORD" }}
{{- with index $found $name }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.outputEnv }}
- name: {{ $name }}
  value: {{ include "kafka-exporter.text" $value | quote }}
{{- end }}
{{- with .Values.fluent.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
An ordinary container is stopped at the same time as the consumer, and Fluent Bit then takes nothing more. So it waits
for as long as the consumer may take. Its image has nothing that could wait, not even a shell: it runs itself a second
time, with an output that ends it.
*/}}
{{- define "kafka-exporter.fluent.wait" -}}
{{- $seconds := add .Values.consumer.shutdownTimeoutSeconds 2 | toString -}}
{{- if eq .Values.flavor "fluentd" -}}
[sleep, {{ $seconds | quote }}]
{{- else -}}
[/fluent-bit/bin/fluent-bit, -q, -i, dummy, -o, exit, -p, time_count={{ $seconds }}, -m, "*"]
{{- end }}
{{- end }}

{{- define "kafka-exporter.fluent" -}}
{{- $fluentd := eq .Values.flavor "fluentd" -}}
{{- $image := $fluentd | ternary .Values.fluentd.image .Values.fluentBit.image -}}
{{- $native := include "kafka-exporter.native" . -}}
{{- $alive := $fluentd | ternary "/api/plugins.json" "/" -}}
{{- $healthy := $fluentd | ternary "/api/plugins.json" "/api/v1/health" -}}
- name: {{ .Values.flavor }}
  image: {{ include "kafka-exporter.image" (list $image $image.registry $image.tag) }}
  imagePullPolicy: {{ $image.pullPolicy }}
  {{- if $native }}
  # A native sidecar: there before the consumer starts, and until it has ended.
  restartPolicy: Always
  {{- end }}
  {{- if $fluentd }}
  {{- /* The name of the file in a whole configuration is that of Fluentd's own image. */}}
  command: [fluentd]
  args: [-c, /fluentd/etc/{{ .Values.existingConfigMap | empty | not | ternary "fluent.conf" "fluentd.conf" }}]
  {{- else }}
  command: [/fluent-bit/bin/fluent-bit]
  args: [-c, /fluent-bit/etc/fluent-bit.conf]
  {{- end }}
  env:
    {{- include "kafka-exporter.fluent.env" . | nindent 4 }}
  {{- with .Values.fluent.extraEnvFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: fluent-http
      containerPort: {{ $fluentd | ternary 24220 2020 }}
  {{- range $name, $path := dict "startupProbe" $alive "livenessProbe" $alive "readinessProbe" $healthy }}
  {{- with include "kafka-exporter.probe" (list (index $.Values.fluent $name) $path "fluent-http") }}
  {{ $name }}: {{- . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if not $native }}
  lifecycle:
    preStop:
      exec:
        command: {{ include "kafka-exporter.fluent.wait" . }}
  {{- end }}
  {{- with .Values.fluent.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.fluent.securityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: config
      mountPath: {{ $fluentd | ternary "/fluentd/etc" "/fluent-bit/etc" }}
      readOnly: true
    - name: {{ include "kafka-exporter.stateful" . | eq "true" | ternary "data" "storage" }}
      mountPath: /var/lib/{{ .Values.flavor }}
      {{- if include "kafka-exporter.stateful" . }}
      subPath: {{ .Values.flavor }}
      {{- end }}
    {{- if $fluentd }}
    - {name: tmp, mountPath: /tmp}
    {{- end }}
    {{- if include "kafka-exporter.fluent.kafka" . }}
    - {name: kafka, mountPath: /run/secrets/kafka, readOnly: true}
    {{- end }}
    {{- if .Values.outputSecret.existingSecret }}
    - {name: output, mountPath: /run/secrets/output, readOnly: true}
    {{- end }}
    {{- with .Values.fluent.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Secrets of Kafka that are files, as JSON; nothing when there are none. */}}
{{- define "kafka-exporter.fluent.kafka" -}}
{{- $found := include "kafka-exporter.secrets.kafka" . | fromJson -}}
{{- if eq .Values.flavor "fluentd" }}{{ $found = omit $found "username" "keyPassword" }}{{ end }}
{{- if $found }}{{ $found | toJson }}{{ end }}
{{- end }}

{{- define "kafka-exporter.fluent.volumes" -}}
- name: config
  configMap:
    {{- if .Values.existingConfigMap }}
    name: {{ .Values.existingConfigMap }}
    {{- else }}
    name: {{ include "kafka-exporter.fullname" . }}-config
    items:
      {{- range $path, $_ := include "kafka-exporter.config" . | fromJson }}
      - {key: {{ base $path }}, path: {{ $path }}}
      {{- end }}
    {{- end }}
{{- if eq .Values.flavor "fluentd" }}
- name: tmp
  emptyDir: {}
{{- end }}
{{- with include "kafka-exporter.fluent.kafka" . }}
{{ include "kafka-exporter.volume" (list "kafka" (fromJson .)) }}
{{- end }}
{{- with .Values.outputSecret.existingSecret }}
- name: output
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}
