{{/* Environment for NATS, which the consumer and the test have in common. */}}
{{- define "kafka-exporter.nats.env" -}}
{{- $found := include "kafka-exporter.secrets.nats" . | fromJson -}}
- name: NATS_FLUENT_NATS_SERVERS
  value: {{ include "kafka-exporter.text" .Values.nats.servers | quote }}
{{- with $found.username }}
- name: NATS_FLUENT_NATS_USER
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}
{{- else }}
{{- with include "kafka-exporter.nats.user" . }}
- name: NATS_FLUENT_NATS_USER
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- $variables := dict "password" "PASSWORD_FILE" "token" "TOKEN_FILE" "nkey" "NKEY_FILE" "creds" "CREDS_FILE" "ca" "CA_FILE" "cert" "CERT_FILE" "key" "KEY_FILE" "keyPassword" "KEY_PASSWORD_FILE" }}
{{- range $name, $one := omit $found "username" }}
- name: NATS_FLUENT_NATS_{{ index $variables $name }}
  value: {{ include "kafka-exporter.file" (list "nats" $name $one) }}
{{- end }}
{{- end }}

{{/* What is consumed, which the test looks for, too. */}}
{{- define "kafka-exporter.topics.env" -}}
{{- with .Values.topics }}
- name: NATS_FLUENT_TOPICS
  value: {{ include "kafka-exporter.text" . | quote }}
{{- end }}
{{- range $name, $subject := .Values.topic }}
{{- with $subject }}
- name: KAFKA_EXPORTER_TOPIC_{{ snakecase $name | upper }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if .Values.jetstream.stream }}
{{- range $name, $value := .Values.jetstream }}
{{- with include "kafka-exporter.text" $value }}
- name: NATS_FLUENT_JETSTREAM_{{ snakecase $name | upper }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kafka-exporter.consumer.env" -}}
{{ include "kafka-exporter.nats.env" . }}
{{- if not (dig "nats" "name" "" .Values.settings) }}
- name: NATS_FLUENT_NATS_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
{{- end }}
{{- include "kafka-exporter.topics.env" . }}
- name: NATS_FLUENT_FLUENT_URL
  value: forward://127.0.0.1:24224
{{- if gt (int .Values.consumer.workers) 1 }}
- name: NATS_FLUENT_WORKERS
  value: {{ .Values.consumer.workers | quote }}
{{- end }}
{{- with include "kafka-exporter.spool" . }}
- name: NATS_FLUENT_SPOOL_MODE
  value: {{ . | quote }}
- name: NATS_FLUENT_SPOOL_DIR
  value: /var/lib/nats-fluent
- name: NATS_FLUENT_SPOOL_MAX_BYTES
  value: {{ include "kafka-exporter.text" $.Values.spool.maxBytes | quote }}
- name: NATS_FLUENT_SPOOL_FSYNC
  value: {{ include "kafka-exporter.text" $.Values.spool.fsync | quote }}
{{- end }}
{{- with .Values.handlers }}
- name: NATS_FLUENT_TRANSFORMS
  value: {{ printf "/etc/nats-fluent/handlers/%s.py" (keys . | sortAlpha | join ".py,/etc/nats-fluent/handlers/") | quote }}
{{- end }}
{{- range $section, $names := .Values.settings }}
{{- range $name, $value := $names }}
- name: NATS_FLUENT_{{ upper $section }}_{{ upper $name }}
  value: {{ include "kafka-exporter.text" $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := include "kafka-exporter.log" . | fromJson }}
- name: NATS_FLUENT_LOG_{{ upper $name }}
  value: {{ $value | quote }}
{{- end }}
- name: NATS_FLUENT_HTTP_LISTEN
  value: {{ printf "%s:%d" .Values.consumer.http.host (int .Values.consumer.http.port) | quote }}
- name: NATS_FLUENT_SHUTDOWN_TIMEOUT
  value: {{ printf "%ds" (int .Values.consumer.shutdownTimeoutSeconds) }}
{{- with .Values.consumer.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kafka-exporter.nats.mounts" -}}
{{- if omit (include "kafka-exporter.secrets.nats" . | fromJson) "username" }}
- {name: nats, mountPath: /run/secrets/nats, readOnly: true}
{{- end }}
{{- end }}

{{- define "kafka-exporter.nats.volumes" -}}
{{- with omit (include "kafka-exporter.secrets.nats" . | fromJson) "username" }}
{{ include "kafka-exporter.volume" (list "nats" .) }}
{{- end }}
{{- end }}

{{- define "kafka-exporter.consumer" -}}
- name: consumer
  image: {{ include "kafka-exporter.consumer.image" . }}
  imagePullPolicy: {{ .Values.consumer.image.pullPolicy }}
  args: [run]
  env:
    {{- include "kafka-exporter.consumer.env" . | nindent 4 }}
  {{- with .Values.consumer.extraEnvFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: metrics
      containerPort: {{ .Values.consumer.http.port }}
  {{- range $name, $path := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
  {{- with include "kafka-exporter.probe" (list (index $.Values.consumer $name) $path "metrics") }}
  {{ $name }}: {{- . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .Values.consumer.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.consumer.securityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $mounts := include "kafka-exporter.nats.mounts" . | fromYamlArray }}
  {{- if include "kafka-exporter.spool" . }}
  {{- $data := include "kafka-exporter.stateful" . | eq "true" | ternary (dict "name" "data" "subPath" "spool") (dict "name" "spool") }}
  {{- $mounts = append $mounts (set $data "mountPath" "/var/lib/nats-fluent") }}
  {{- end }}
  {{- if .Values.handlers }}
  {{- $mounts = append $mounts (dict "name" "handlers" "mountPath" "/etc/nats-fluent/handlers" "readOnly" true) }}
  {{- end }}
  {{- with concat $mounts .Values.consumer.extraVolumeMounts }}
  volumeMounts: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
