{{/* An image's name: registry, repository, and digest or tag. */}}
{{- define "image" -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{/* A variable's value. Docker takes $ for one of its own, and Helm writes a million as 1e+06. */}}
{{- define "value" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{ printf "%.0f" . | quote }}
{{- else -}}
{{ toString . | replace "$" "$$" | quote }}
{{- end }}
{{- end }}

{{/* A value of `global`, blank where there is none: a list of the root and of the path, as in certs.bootstrap.key. */}}
{{- define "global" -}}
{{- $found := dict "at" (index . 0).Values.global }}
{{- range splitList "." (index . 1) }}
  {{- if kindIs "map" $found.at }}
    {{- $_ := set $found "at" (get $found.at .) }}
  {{- else }}
    {{- $_ := set $found "at" "" }}
  {{- end }}
{{- end }}
{{- $found.at | default "" }}
{{- end }}

{{/*
The secrets, as JSON: of each, by what it is for, the name and, where it is given here, the value. The first three have
the names that the platform gives them.
*/}}
{{- define "secrets" -}}
{{- $tls := .Values.nats.tls }}
{{- $key := $tls.key | default (include "global" (list . "certs.bootstrap.key")) }}
{{- $derived := "" }}
{{- if and $key (not .Values.existingSecrets.forwardSharedKey) }}
  {{- $derived = printf "forward:%s" $key | sha256sum }}
{{- end }}
{{- $asked := dict
  "ca-chain-system" (list "natsCa" "nats.tls.ca" $tls.ca "certs.ca.system.chain")
  "bootstrap-cert" (list "natsCert" "nats.tls.cert" $tls.cert "certs.bootstrap.cert")
  "bootstrap-key" (list "natsKey" "nats.tls.key" $tls.key "certs.bootstrap.key")
  "bootstrap-pass" (list "natsKeyPassword" "nats.tls.keyPassword" $tls.keyPassword "certs.bootstrap.pass")
  "nats-pass" (list "natsPassword" "nats.password" .Values.nats.password "accounts.nats.pass")
  "nats-token" (list "natsToken" "" "" "")
  "nats-nkey" (list "natsNkey" "" "" "")
  "nats-creds" (list "natsCreds" "" "" "")
  "forward-shared-key" (list "forwardSharedKey" "forward.sharedKey" (.Values.forward.sharedKey | default $derived) "")
}}
{{- $secrets := dict }}
{{- range $for, $how := $asked }}
  {{- $existing := index $how 0 }}
  {{- $own := index $how 1 }}
  {{- $value := index $how 2 }}
  {{- with index $how 3 }}
    {{- $value = $value | default (include "global" (list $ .)) }}
    {{- $own = printf "%s (or global.%s)" $own . }}
  {{- end }}
  {{- $name := get $.Values.existingSecrets $existing }}
  {{- if and $name $value }}
    {{- fail (printf "%s and existingSecrets.%s are both given: take one of them away" $own $existing) }}
  {{- else if $name }}
    {{- $_ := set $secrets $for (dict "name" $name) }}
  {{- else if $value }}
    {{- $name = printf "%s-%s" $for (sha256sum $value | trunc 8) }}
    {{- $_ := set $secrets $for (dict "name" $name "value" $value) }}
  {{- end }}
{{- end }}
{{- $secrets | toJson }}
{{- end }}

{{/* The variables of the consumer, as JSON. */}}
{{- define "environment" -}}
{{- $log := .Values.global.log | default dict }}
{{- $found := dict
  "NATS_FLUENT_NATS_SERVERS" (join "," .Values.nats.servers)
  "NATS_FLUENT_NATS_USER" (.Values.nats.user | default (include "global" (list . "accounts.nats.user")))
  "NATS_FLUENT_TOPICS" (join "," .Values.topics)
  "NATS_FLUENT_FLUENT_URL" "forward://kafka-exporter-log-shipper:24224"
  "NATS_FLUENT_HTTP_LISTEN" "0.0.0.0:9464"
  "NATS_FLUENT_LOG_LEVEL" (.Values.log.level | default $log.level)
  "NATS_FLUENT_LOG_FORMAT" (.Values.log.format | default $log.format)
  "NATS_FLUENT_SHUTDOWN_TIMEOUT" (printf "%ds" (int .Values.shutdownSeconds))
}}
{{- if ne .Values.spool.mode "off" }}
  {{- $_ := set $found "NATS_FLUENT_SPOOL_MODE" .Values.spool.mode }}
  {{- $_ := set $found "NATS_FLUENT_SPOOL_DIR" "/var/lib/nats-fluent" }}
{{- end }}
{{- range $name, $value := $found }}
  {{- if not $value }}
    {{- $_ := unset $found $name }}
  {{- end }}
{{- end }}
{{- $files := dict
  "ca-chain-system" "NATS_CA_FILE"
  "bootstrap-cert" "NATS_CERT_FILE"
  "bootstrap-key" "NATS_KEY_FILE"
  "bootstrap-pass" "NATS_KEY_PASSWORD_FILE"
  "nats-pass" "NATS_PASSWORD_FILE"
  "nats-token" "NATS_TOKEN_FILE"
  "nats-nkey" "NATS_NKEY_FILE"
  "nats-creds" "NATS_CREDS_FILE"
  "forward-shared-key" "FLUENT_SHARED_KEY_FILE"
}}
{{- range $for, $_ := include "secrets" . | fromJson }}
  {{- $_ := set $found (printf "NATS_FLUENT_%s" (get $files $for)) (printf "/run/secrets/%s" $for) }}
{{- end }}
{{- mergeOverwrite $found (.Values.environment | default dict) | toJson }}
{{- end }}

{{/* The secrets that Fluent Bit alone knows, by the name of their variable; like "secrets". */}}
{{- define "outputSecrets" -}}
{{- $asked := deepCopy (.Values.outputSecrets | default dict) }}
{{- $kafka := .Values.kafka }}
{{- if or $kafka.password $kafka.existingSecret }}
  {{- if hasKey $asked "KAFKA_PASSWORD" }}
    {{- fail "kafka.password or .existingSecret and outputSecrets.KAFKA_PASSWORD are both given: take one of them away" }}
  {{- end }}
  {{- if and $kafka.password $kafka.existingSecret }}
    {{- fail "kafka.password and kafka.existingSecret are both given: take one of them away" }}
  {{- end }}
  {{- $_ := set $asked "KAFKA_PASSWORD" (dict "value" $kafka.password "existingSecret" $kafka.existingSecret) }}
{{- end }}
{{- $secrets := dict }}
{{- range $variable, $how := $asked }}
  {{- if and $how.value $how.existingSecret }}
    {{- fail (printf "of outputSecrets.%s, a value and existingSecret are both given: take one of them away" $variable) }}
  {{- else if $how.existingSecret }}
    {{- $_ := set $secrets $variable (dict "name" $how.existingSecret) }}
  {{- else if $how.value }}
    {{- $name := printf "kafka-exporter-%s-%s" (lower $variable | replace "_" "-") (sha256sum $how.value | trunc 8) }}
    {{- $_ := set $secrets $variable (dict "name" $name "value" $how.value) }}
  {{- else }}
    {{- fail (printf "outputSecrets.%s needs a value or existingSecret" $variable) }}
  {{- end }}
{{- end }}
{{- $secrets | toJson }}
{{- end }}

{{/* The files of Fluent Bit, as JSON: of each, by its place in /fluent-bit/etc, the name and what is in it. */}}
{{- define "configs" -}}
{{- $first := list "# Secrets from their files, then conf/fluent-bit.conf." }}
{{- $first = append $first "@SET FORWARD_SHARED_KEY=file:///run/secrets/forward-shared-key" }}
{{- range $variable, $_ := include "outputSecrets" . | fromJson }}
  {{- if not (hasSuffix "_FILE" $variable) }}
    {{- $first = append $first (printf "@SET %s=file:///run/secrets/%s" $variable $variable) }}
  {{- end }}
{{- end }}
{{- $first = append $first "@INCLUDE nats-fluent.conf" }}
{{- $output := .Values.customOutput }}
{{- if ne .Values.output "custom" }}
  {{- $output = .Files.Get (printf "conf/output.d/%s.conf" .Values.output) }}
{{- end }}
{{- $configs := dict }}
{{- range list
  (list "fluent-bit.conf" "fluent-bit.conf" (printf "%s\n" (join "\n" $first)))
  (list "nats-fluent.conf" "nats-fluent.conf" (.Files.Get "conf/fluent-bit.conf"))
  (list "output.d/stdout.conf" (printf "%s.conf" .Values.output) $output)
}}
  {{- $name := printf "kafka-exporter-%s-%s" (index . 1) (index . 2 | sha256sum | trunc 8) }}
  {{- $_ := set $configs (index . 0) (dict "name" $name "value" (index . 2)) }}
{{- end }}
{{- $configs | toJson }}
{{- end }}

{{/* The variables of Fluent Bit that name where the records go, as JSON. */}}
{{- define "outputEnvironment" -}}
{{- $found := dict }}
{{- if hasPrefix "kafka" .Values.output }}
  {{- $kafka := .Values.kafka }}
  {{- range list
    (list "KAFKA_BROKERS" (join "," $kafka.brokers))
    (list "KAFKA_SECURITY_PROTOCOL" $kafka.securityProtocol)
    (list "KAFKA_SASL_MECHANISM" $kafka.saslMechanism)
    (list "KAFKA_USERNAME" $kafka.username)
  }}
    {{- if index . 1 }}
      {{- $_ := set $found (index . 0) (index . 1) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- range $variable, $_ := include "outputSecrets" . | fromJson }}
  {{- if hasSuffix "_FILE" $variable }}{{ $_ := set $found $variable (printf "/run/secrets/%s" $variable) }}{{ end }}
{{- end }}
{{- mergeOverwrite $found (.Values.outputEnv | default dict) | toJson }}
{{- end }}
