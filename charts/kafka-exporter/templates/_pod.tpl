{{- define "kafka-exporter.affinity" -}}
{{- if .Values.affinity }}
{{- toYaml .Values.affinity }}
{{- else if .Values.global.nodeAffinity.enabled }}
{{- $label := .Values.nodeAffinity -}}
{{- $match := dict "matchExpressions" (list (dict "key" $label.key "operator" $label.operator "values" (list $label.value))) -}}
{{- if or (eq .Values.global.nodeAffinity.mode "required") $label.required -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms: {{- toYaml (list $match) | nindent 6 }}
{{- else -}}
nodeAffinity:
  preferredDuringSchedulingIgnoredDuringExecution: {{- toYaml (list (dict "weight" 1 "preference" $match)) | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kafka-exporter.pod" -}}
metadata:
  labels:
    {{- include "kafka-exporter.selector" . | nindent 4 }}
    {{- with merge (dict) .Values.podLabels .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: consumer
    {{- if .Values.checksumAnnotations }}
    {{- if not .Values.existingConfigMap }}
    checksum/config: {{ include "kafka-exporter.config" . | sha256sum }}
    {{- end }}
    {{- with .Values.handlers }}
    checksum/handlers: {{ toJson . | sha256sum }}
    {{- end }}
    checksum/secrets: {{ print (include "kafka-exporter.secrets.nats" .) (include "kafka-exporter.secrets.kafka" .) | sha256sum }}
    {{- end }}
    {{- with merge (dict) .Values.podAnnotations .Values.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "kafka-exporter.serviceAccountName" . }}
  automountServiceAccountToken: false
  # For a Service named kafka-exporter they would be variables that begin with KAFKA_EXPORTER_, which are settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "kafka-exporter.grace" . }}
  {{- with include "kafka-exporter.pullSecrets" . }}
  imagePullSecrets: {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "kafka-exporter.affinity" . }}
  affinity: {{- . | nindent 4 }}
  {{- end }}
  {{- range $name := list "nodeSelector" "tolerations" "hostAliases" "dnsConfig" }}
  {{- with index $.Values $name }}
  {{ $name }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- range $name := list "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" }}
  {{- with index $.Values $name }}
  {{ $name }}: {{ . }}
  {{- end }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "kafka-exporter.selector" $ | fromYaml)) }}
    - {{ toYaml (merge (dict) . $selector) | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  {{- $native := include "kafka-exporter.native" . }}
  {{- if or $native .Values.extraInitContainers }}
  initContainers:
    {{- with .Values.extraInitContainers }}
    {{- include "kafka-exporter.tpl" (list . $) | nindent 4 }}
    {{- end }}
    {{- if $native }}
    {{- include "kafka-exporter.fluent" . | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    {{- include "kafka-exporter.consumer" . | nindent 4 }}
    {{- if not $native }}
    {{- include "kafka-exporter.fluent" . | nindent 4 }}
    {{- end }}
    {{- with .Values.extraContainers }}
    {{- include "kafka-exporter.tpl" (list . $) | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "kafka-exporter.fluent.volumes" . | nindent 4 }}
    {{- with include "kafka-exporter.nats.volumes" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if .Values.handlers }}
    - name: handlers
      configMap: {name: {{ include "kafka-exporter.fullname" . }}-handlers}
    {{- end }}
    {{- if not (include "kafka-exporter.stateful" .) }}
    - name: storage
      emptyDir: {{- include "kafka-exporter.emptyDir" .Values.emptyDir.sizeLimit | nindent 8 }}
    {{- if include "kafka-exporter.spool" . }}
    - name: spool
      emptyDir: {{- include "kafka-exporter.emptyDir" .Values.emptyDir.spoolSizeLimit | nindent 8 }}
    {{- end }}
    {{- end }}
    {{- with .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ . }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* A probe over HTTP, unless it is given another way to ask: (list given path port) */}}
{{- define "kafka-exporter.probe" -}}
{{- with index . 0 }}
{{- $http := dict "path" (index $ 1) "port" (index $ 2) -}}
{{- $own := or .exec .tcpSocket .grpc .httpGet -}}
{{- toYaml (merge (dict) . (empty $own | ternary (dict "httpGet" $http) dict)) }}
{{- end }}
{{- end }}

{{- define "kafka-exporter.emptyDir" -}}
{{- if . }}sizeLimit: {{ . }}{{ else }}{}{{ end }}
{{- end }}
