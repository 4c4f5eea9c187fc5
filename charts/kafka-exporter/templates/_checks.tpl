{{/* What cannot work, each in a sentence, before anything is installed. The schema has what one value can be. */}}
{{- define "kafka-exporter.checks" -}}
{{- $values := .Values -}}
{{- $wrong := list -}}
{{- $kafka := .Values.kafka -}}
{{- $nats := .Values.nats -}}
{{- $global := .Values.global -}}
{{- $output := .Values.output -}}
{{- $fluentd := eq .Values.flavor "fluentd" -}}

{{- if eq $output "kafka" }}
  {{- if not (include "kafka-exporter.brokers" .) }}
    {{- $wrong = append $wrong "output kafka needs kafka.brokers: a list of host:port." }}
  {{- end }}
  {{- if and $kafka.password $kafka.existingSecret }}
    {{- $wrong = append $wrong "kafka.password and kafka.existingSecret are both given; give one." }}
  {{- end }}
  {{- if and $kafka.username $kafka.existingSecret $kafka.usernameKey }}
    {{- $wrong = append $wrong "kafka.username and kafka.usernameKey are both given; give one." }}
  {{- end }}
  {{- $found := include "kafka-exporter.secrets.kafka" . | fromJson }}
  {{- $user := or $kafka.username (hasKey $found "username") }}
  {{- if hasPrefix "sasl_" $kafka.securityProtocol }}
    {{- if not (and $user (hasKey $found "password")) }}
      {{- $wrong = append $wrong (printf "kafka.securityProtocol %s needs kafka.username, and kafka.password or kafka.existingSecret." $kafka.securityProtocol) }}
    {{- end }}
  {{- else if or $user (hasKey $found "password") }}
    {{- $wrong = append $wrong (printf "kafka has a user name or a password, which kafka.securityProtocol %s does not use; give sasl_ssl or sasl_plaintext." $kafka.securityProtocol) }}
  {{- end }}
  {{- if and (not (hasSuffix "ssl" $kafka.securityProtocol)) (or $kafka.tls.existingSecret $kafka.tls.ca $kafka.tls.cert $kafka.tls.key) }}
    {{- $wrong = append $wrong (printf "kafka.tls is given, and kafka.securityProtocol %s would send everything in the clear; give ssl or sasl_ssl." $kafka.securityProtocol) }}
  {{- end }}
  {{- if and $fluentd (eq $values.fluentd.image.repository "fluent/fluentd") }}
    {{- $wrong = append $wrong "the image fluent/fluentd has no Kafka output; make one of conf/Dockerfile.fluentd, and name it in fluentd.image." }}
  {{- end }}
{{- end }}

{{- range $section, $one := dict "nats" $nats "kafka" $kafka }}
  {{- $tls := $one.tls }}
  {{- $inline := list }}
  {{- range $name := list "ca" "cert" "key" "keyPassword" }}
    {{- if index $tls $name }}{{ $inline = append $inline (printf "%s.tls.%s" $section $name) }}{{ end }}
  {{- end }}
  {{- if and $tls.existingSecret $inline }}
    {{- $wrong = append $wrong (printf "%s and %s.tls.existingSecret are both given; give one." (join ", " $inline) $section) }}
  {{- end }}
  {{- $names := printf "%s.tls.cert and %s.tls.key" $section $section }}
  {{- if or (ne $section "kafka") (eq $output "kafka") }}
    {{- $found := include (printf "kafka-exporter.secrets.%s" $section) $ | fromJson }}
    {{- if ne (hasKey $found "cert") (hasKey $found "key") }}
      {{- $wrong = append $wrong (printf "%s (or certKey and keyKey): one is there without the other; give both or neither." $names) }}
    {{- else if and (hasKey $found "keyPassword") (not (hasKey $found "key")) }}
      {{- $wrong = append $wrong (printf "%s.tls.keyPassword is a passphrase without a key; give %s.tls.key." $section $section) }}
    {{- end }}
  {{- end }}
{{- end }}

{{- if and $nats.password $nats.existingSecret }}
  {{- $wrong = append $wrong "nats.password and nats.existingSecret are both given; give one." }}
{{- end }}
{{- if and $nats.user $nats.existingSecret $nats.usernameKey }}
  {{- $wrong = append $wrong "nats.user and nats.usernameKey are both given; give one." }}
{{- end }}
{{- $ways := list }}
{{- if or (include "kafka-exporter.nats.user" . | ne "") $nats.usernameKey $nats.password }}{{ $ways = append $ways "nats.user" }}{{ end }}
{{- range $name := list "tokenKey" "nkeyKey" "credsKey" }}
  {{- if index $nats $name }}
    {{- $ways = append $ways (printf "nats.%s" $name) }}
    {{- if not $nats.existingSecret }}
      {{- $wrong = append $wrong (printf "nats.%s names a key of a Secret; give nats.existingSecret." $name) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if gt (len $ways) 1 }}
  {{- $wrong = append $wrong (printf "%s are each a way to sign in, and the server takes one; give one of them." (join " and " $ways)) }}
{{- end }}
{{- $found := include "kafka-exporter.secrets.nats" . | fromJson }}
{{- $others := without $ways "nats.user" }}
{{- if and (not $others) (ne (hasKey $found "password") (or (include "kafka-exporter.nats.user" . | ne "") (hasKey $found "username"))) }}
  {{- $wrong = append $wrong "nats.user and nats.password (or nats.existingSecret; or global.accounts.nats.user and pass): one is there without the other; give both or neither." }}
{{- end }}

{{- if eq $output "custom" }}
  {{- if eq (empty $values.customOutput) (empty $values.existingConfigMap) }}
    {{- $wrong = append $wrong "output custom needs customOutput or existingConfigMap, and not both." }}
  {{- end }}
{{- else if or $values.customOutput $values.existingConfigMap }}
  {{- $wrong = append $wrong (printf "customOutput and existingConfigMap are for output custom, and output is %s." $output) }}
{{- end }}
{{- if and $fluentd (not (has $output (list "stdout" "kafka" "custom"))) }}
  {{- $wrong = append $wrong (printf "Fluentd has no output %s in this chart; take flavor fluent-bit, or output custom." $output) }}
{{- end }}
{{- if and (eq $output "s3") (not (hasKey $values.outputEnv "S3_BUCKET")) }}
  {{- $wrong = append $wrong "output s3 needs outputEnv.S3_BUCKET." }}
{{- end }}
{{- if and (eq $output "file") (not $values.fluent.extraVolumeMounts) }}
  {{- $wrong = append $wrong "output file needs a volume to write to: extraVolumes, fluent.extraVolumeMounts, and outputEnv.FILE_PATH where it is not /var/log/nats-fluent." }}
{{- end }}
{{- with $values.outputSecret }}
  {{- if and .variables (not .existingSecret) }}
    {{- $wrong = append $wrong "outputSecret.variables names keys of a Secret; give outputSecret.existingSecret." }}
  {{- end }}
  {{- if and .variables $fluentd }}
    {{- $wrong = append $wrong "outputSecret.variables is for Fluent Bit; with Fluentd read the files of /run/secrets/output in customOutput." }}
  {{- end }}
  {{- range $name, $_ := .variables }}
    {{- if hasKey $values.outputEnv $name }}
      {{- $wrong = append $wrong (printf "outputEnv.%s and outputSecret.variables.%s are both given; give one." $name $name) }}
    {{- end }}
  {{- end }}
{{- end }}

{{- $former := list }}
{{- range $name, $subject := $values.topic }}{{ if $subject }}{{ $former = append $former (printf "topic.%s" $name) }}{{ end }}{{ end }}
{{- if and $values.topics $former }}
  {{- $wrong = append $wrong (printf "topics and %s are both given; give topics alone, as in [\"events.>=squall-events\"]." (join ", " (sortAlpha $former))) }}
{{- end }}
{{- if and $values.jetstream.stream (include "kafka-exporter.spool" .) }}
  {{- $wrong = append $wrong "spool.mode and jetstream.stream are both given: the stream keeps what is not acknowledged; set spool.mode to \"off\"." }}
{{- end }}

{{- if and (eq (toString $values.fluent.nativeSidecar) "true") (not (semverCompare ">=1.29-0" .Capabilities.KubeVersion.Version)) }}
  {{- $wrong = append $wrong (printf "fluent.nativeSidecar true needs Kubernetes 1.29, and this is %s; take auto." .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- with $values.persistence }}
  {{- if and .existingClaim (not .enabled) }}
    {{- $wrong = append $wrong "persistence.existingClaim is given, and persistence.enabled is false." }}
  {{- end }}
  {{- if and .existingClaim (or (gt (int $values.replicaCount) 1) (include "kafka-exporter.autoscaled" $)) }}
    {{- $wrong = append $wrong "persistence.existingClaim is one volume, which two log shippers must never share; set replicaCount to 1 and no autoscaling, or leave the claim out so that each pod has its own." }}
  {{- end }}
{{- end }}
{{- if and $values.autoscaling.enabled $values.keda.enabled }}
  {{- $wrong = append $wrong "autoscaling.enabled and keda.enabled are both given; give one." }}
{{- end }}
{{- if $values.keda.enabled }}
  {{- if not $values.jetstream.stream }}
    {{- $wrong = append $wrong "keda.enabled needs jetstream.stream: core NATS knows no lag; take autoscaling.enabled." }}
  {{- end }}
  {{- if not $values.keda.monitoringEndpoint }}
    {{- $wrong = append $wrong "keda.enabled needs keda.monitoringEndpoint, as in nats.nats.svc:8222." }}
  {{- end }}
{{- end }}
{{- with $values.podDisruptionBudget }}
  {{- if and .enabled (not (include "kafka-exporter.given" .minAvailable)) (not (include "kafka-exporter.given" .maxUnavailable)) }}
    {{- $wrong = append $wrong "podDisruptionBudget needs minAvailable or maxUnavailable." }}
  {{- end }}
{{- end }}
{{- if and $values.networkPolicy.enabled (not (has $output (list "stdout" "kafka" "file"))) (not $values.networkPolicy.extraEgress) }}
  {{- $wrong = append $wrong (printf "networkPolicy.enabled would keep records from output %s; give networkPolicy.extraEgress." $output) }}
{{- end }}
{{- with $wrong }}
  {{- fail (printf "\n\n%s\n" (join "\n" (uniq .))) }}
{{- end }}
{{- end }}
