{{/* Ends with a sentence where values contradict each other or lack something. */}}
{{- define "checks" -}}
{{- $secrets := include "secrets" . | fromJson }}
{{- $user := .Values.nats.user | default (include "global" (list . "accounts.nats.user")) }}
{{- if and $user (not (hasKey $secrets "nats-pass")) }}
  {{- fail (print "a user for NATS is given, and no password: set nats.password (or global.accounts.nats.pass), or "
    "existingSecrets.natsPassword") }}
{{- end }}
{{- if and (hasKey $secrets "nats-pass") (not $user) }}
  {{- fail "a password for NATS is given, and no user: set nats.user (or global.accounts.nats.user)" }}
{{- end }}
{{- $ways := list }}
{{- range $for, $called := dict "nats-pass" "a password" "nats-token" "existingSecrets.natsToken" "nats-nkey" "existingSecrets.natsNkey" "nats-creds" "existingSecrets.natsCreds" }}
  {{- if hasKey $secrets $for }}{{ $ways = append $ways $called }}{{ end }}
{{- end }}
{{- if gt (len $ways) 1 }}
  {{- fail (printf "for NATS, %s are each a way to sign in, and the server takes one: set one of them" (join " and " $ways)) }}
{{- end }}
{{- if ne (hasKey $secrets "bootstrap-cert") (hasKey $secrets "bootstrap-key") }}
  {{- fail (print "of the client certificate for NATS and its key, only one is given: set both of nats.tls.cert and "
    "nats.tls.key (or global.certs.bootstrap.cert and .key), or both of existingSecrets.natsCert and .natsKey") }}
{{- end }}
{{- if and (hasKey $secrets "bootstrap-pass") (not (hasKey $secrets "bootstrap-key")) }}
  {{- fail "nats.tls.keyPassword (or global.certs.bootstrap.pass) is given, and no key that it opens" }}
{{- end }}
{{- if not (hasKey $secrets "forward-shared-key") }}
  {{- fail (print "forward.sharedKey is needed: whoever reaches Fluent Bit could send it records otherwise. Set it to "
    "something long and random, or existingSecrets.forwardSharedKey") }}
{{- end }}
{{- if and (ne .Values.spool.mode "off") (gt (int .Values.replicas) 1) }}
  {{- fail (printf "spool.mode: %s needs replicas: 1, for one consumer alone may use the volume" .Values.spool.mode) }}
{{- end }}

{{- $environment := include "outputEnvironment" . | fromJson }}
{{- $output := .Values.output }}
{{- if and (hasPrefix "kafka" $output) (not $environment.KAFKA_BROKERS) }}
  {{- fail (printf "output: %s needs kafka.brokers, such as [kafka-1:9092]" $output) }}
{{- end }}
{{- $sasl := and (hasPrefix "kafka" $output) (hasPrefix "sasl" .Values.kafka.securityProtocol) }}
{{- $password := hasKey (include "outputSecrets" . | fromJson) "KAFKA_PASSWORD" }}
{{- if and $sasl (not (and .Values.kafka.username $password)) }}
  {{- fail (printf "kafka.securityProtocol: %s needs kafka.username, and kafka.password or kafka.existingSecret"
    .Values.kafka.securityProtocol) }}
{{- end }}
{{- $needed := get (dict "elasticsearch" "ELASTICSEARCH_HOST" "opensearch" "OPENSEARCH_HOST" "loki" "LOKI_HOST"
  "s3" "S3_BUCKET" "http" "HTTP_OUTPUT_HOST" "file" "FILE_PATH") $output }}
{{- if and $needed (not (get $environment $needed)) }}
  {{- fail (printf "output: %s needs %s in outputEnv; docs/outputs.md tells what else there is" $output $needed) }}
{{- end }}
{{- if and (eq $output "custom") (not .Values.customOutput) }}
  {{- fail "output: custom needs customOutput, the [OUTPUT] sections of Fluent Bit's configuration" }}
{{- end }}
{{- if and .Values.customOutput (ne $output "custom") }}
  {{- fail (printf "customOutput is given, and output is %s: set output to custom" $output) }}
{{- end }}
{{- end }}
