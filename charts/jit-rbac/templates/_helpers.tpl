{{/* Names. Policies are verified with a label whose value is their name, and a label value has at most 63 characters. */}}
{{- define "jit-rbac.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "jit-rbac.controller" -}}{{ include "jit-rbac.fullname" . }}-controller{{- end -}}
{{- define "jit-rbac.webhook" -}}{{ include "jit-rbac.fullname" . }}-webhook{{- end -}}
{{- define "jit-rbac.record" -}}{{ include "jit-rbac.fullname" . }}-record{{- end -}}
{{- define "jit-rbac.recordAccount" -}}{{ default (include "jit-rbac.record" .) .Values.record.serviceAccount.name }}{{- end -}}
{{- define "jit-rbac.test" -}}{{ include "jit-rbac.fullname" . }}-test{{- end -}}

{{/* The two ServiceAccounts, and their user names, as the API server sees them. */}}
{{- define "jit-rbac.controllerAccount" -}}{{ default (include "jit-rbac.controller" .) .Values.controller.serviceAccount.name }}{{- end -}}
{{- define "jit-rbac.webhookAccount" -}}{{ default (include "jit-rbac.webhook" .) .Values.webhook.serviceAccount.name }}{{- end -}}
{{- define "jit-rbac.testAccount" -}}{{ include "jit-rbac.test" . }}{{- end -}}
{{- define "jit-rbac.controllerUser" -}}system:serviceaccount:{{ .Release.Namespace }}:{{ include "jit-rbac.controllerAccount" . }}{{- end -}}
{{- define "jit-rbac.webhookUser" -}}system:serviceaccount:{{ .Release.Namespace }}:{{ include "jit-rbac.webhookAccount" . }}{{- end -}}

{{/* Labels of an object: (dict "root" $ "component" "controller"); the component may be left out. */}}
{{- define "jit-rbac.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "jit-rbac.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Labels and annotations of an object: (dict "root" $ "component" "controller" "labels" (dict ...) "annotations" (dict ...)). All but
`root` may be left out.
*/}}
{{- define "jit-rbac.marks" -}}
labels:
  {{- include "jit-rbac.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "jit-rbac.selector" -}}
app.kubernetes.io/name: jit-rbac
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "jit-rbac.image" -}}
{{- with default .Values.image.registry .Values.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end -}}
{{- end -}}

{{/* The configuration of both processes. */}}
{{- define "jit-rbac.config" -}}
{{- $name := include "jit-rbac.fullname" . -}}
{{- $certificate := dict -}}
{{- if .Values.webhook.certManager.enabled -}}
{{- $_ := set $certificate "directory" "/etc/jit-rbac/tls" -}}
{{- else -}}
{{- $host := ternary (urlParse .Values.outOfCluster.webhookUrl).hostname (include "jit-rbac.webhookHost" .) .Values.outOfCluster.enabled -}}
{{- $_ := set $certificate "selfManaged" (dict "secret" (include "jit-rbac.tlsSecret" .) "dnsNames" (list $host)) -}}
{{- end -}}
{{- $config := dict
  "operatorNamespace" .Release.Namespace
  "controller" (dict "serviceAccount" (include "jit-rbac.controllerAccount" .) "lease" (include "jit-rbac.controller" .))
  "webhook" (dict
    "serviceAccount" (include "jit-rbac.webhookAccount" .)
    "certificate" $certificate
    "mutatingConfiguration" $name
    "validatingConfiguration" $name)
  "maxGrant" .Values.maxGrant
  "systemNamespaces" .Values.systemNamespaces
  "identity" (dict "prefixes" .Values.identity.prefixes "aliases" .Values.identity.aliases)
  "guardedLabels" (dict "keys" .Values.guardedLabels.keys "prefixes" .Values.guardedLabels.prefixes)
  "guards" (dict "mayAnswerFirst" .Values.admissionGuards.mayAnswerFirst) -}}
{{- if .Values.record.enabled -}}
{{- $_ := set $config "record" (dict "lease" (include "jit-rbac.record" .)) -}}
{{- with .Values.record.requireWithin -}}{{- $_ := set $config.record "requireWithin" . -}}{{- end -}}
{{- end -}}
{{- $config | toPrettyJson -}}
{{- end -}}

{{/* The settings of the record. */}}
{{- define "jit-rbac.record.settings" -}}
{{- $settings := dict
  "url" (default "file:///var/lib/jit-rbac/log" .Values.record.url)
  "keys" "/etc/jit-rbac/keys"
  "lease" (include "jit-rbac.record" .)
  "witnesses" .Values.record.witnesses -}}
{{- with .Values.record.retention -}}{{- $_ := set $settings "retention" . -}}{{- end -}}
{{- $settings | toPrettyJson -}}
{{- end -}}

{{/* The files in the folder `policies`; each has one policy and its binding. */}}
{{- define "jit-rbac.policies" -}}
{{- list "approval-policies" "bindings" "decisions" "eligibilities" "guards" "namespaces" "requests" "status" | toJson -}}
{{- end -}}

{{/*
The expected content of the guards, for the controller, which watches them: the objects that this chart renders, without metadata.
`probe` is the name of the policy in this chart, which tells the controller how to verify it. The controller contains the CRDs itself.
*/}}
{{- define "jit-rbac.guards" -}}
{{- $files := list (dict "file" "webhook/configurations.yaml" "probe" "") -}}
{{- range include "jit-rbac.policies" . | fromJsonArray -}}
{{- $files = append $files (dict "file" (printf "policies/%s.yaml" .) "probe" .) -}}
{{- end -}}
{{- $guards := list -}}
{{- range $file := $files -}}
{{- range $text := include (printf "%s/%s" $.Template.BasePath $file.file) $ | splitList "\n---\n" -}}
{{- $object := fromYaml $text -}}
{{- if $object -}}
{{- $guard := dict "kind" $object.kind "name" $object.metadata.name "says" (omit $object "apiVersion" "kind" "metadata") -}}
{{- if eq $object.kind "ValidatingAdmissionPolicy" -}}
{{- $_ := set $guard "probe" $file.probe -}}
{{- end -}}
{{- $guards = append $guards $guard -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $guards | toJson -}}
{{- end -}}

{{- define "jit-rbac.configMap" -}}{{ include "jit-rbac.fullname" . }}-config{{- end -}}
{{/* The Secret of the webhook's own certificate, and cert-manager's Certificate and Secret: two names, since they have two owners. */}}
{{- define "jit-rbac.tlsSecret" -}}{{ include "jit-rbac.webhook" . }}-tls{{- end -}}
{{- define "jit-rbac.certificate" -}}{{ include "jit-rbac.webhook" . }}-certificate{{- end -}}
{{- define "jit-rbac.webhookHost" -}}{{ include "jit-rbac.webhook" . }}.{{ .Release.Namespace }}.svc{{- end -}}

{{/* Checks of combined values that the schema cannot express. */}}
{{- define "jit-rbac.check" -}}
{{- if .Values.outOfCluster.enabled -}}
{{- if not .Values.outOfCluster.webhookUrl -}}
{{- fail "outOfCluster.enabled needs outOfCluster.webhookUrl: the URL at which the API server reaches the webhook, for example https://127.0.0.1:9443" -}}
{{- end -}}
{{- if .Values.webhook.certManager.enabled -}}
{{- fail "webhook.certManager.enabled and outOfCluster.enabled cannot be combined: cert-manager's certificate is mounted into a pod" -}}
{{- end -}}
{{- end -}}
{{- range $process := list "controller" "webhook" -}}
{{- with (index $.Values $process).serviceAccount -}}
{{- if and (not .create) (not .name) -}}
{{- fail (printf "%s.serviceAccount.create is false: set %s.serviceAccount.name to the name of an existing ServiceAccount" $process $process) -}}
{{- end -}}
{{- if eq .name "default" -}}
{{- fail (printf "%s.serviceAccount.name must not be 'default': every pod in the namespace without a ServiceAccount of its own would have the permissions of the operator" $process) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq (include "jit-rbac.controllerAccount" .) (include "jit-rbac.webhookAccount" .) -}}
{{- fail "controller.serviceAccount.name and webhook.serviceAccount.name must differ: the webhook must not have the permissions of the controller" -}}
{{- end -}}
{{- if .Values.record.enabled -}}
{{- if not .Values.record.keySecret -}}
{{- fail "record.enabled needs record.keySecret: the Secret with the private key of the audit log, which 'kubectl jit record create-key' writes" -}}
{{- end -}}
{{- with .Values.record.serviceAccount -}}
{{- if and (not .create) (not .name) -}}
{{- fail "record.serviceAccount.create is false: set record.serviceAccount.name to the name of an existing ServiceAccount" -}}
{{- end -}}
{{- end -}}
{{- if has (include "jit-rbac.recordAccount" .) (list "default" (include "jit-rbac.controllerAccount" .) (include "jit-rbac.webhookAccount" .)) -}}
{{- fail "record.serviceAccount.name must be neither 'default' nor the ServiceAccount of another process: the record may only read" -}}
{{- end -}}
{{- end -}}
{{- if eq (int .Values.webhook.port) (int .Values.webhook.healthPort) -}}
{{- fail "webhook.port and webhook.healthPort must differ" -}}
{{- end -}}
{{- if and .Values.webhook.clientCA.configMap .Values.webhook.clientCA.secret -}}
{{- fail "webhook.clientCA.configMap and webhook.clientCA.secret cannot be combined: set the one that has the CA" -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled -}}
{{- fail "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled cannot be combined: every metric would be scraped twice" -}}
{{- end -}}
{{- if has .Release.Namespace (list "kube-system" "kube-public" "kube-node-lease" "default") -}}
{{- fail (printf "jit-rbac needs a namespace of its own, not %s: no access can be granted in its namespace. Install it with --namespace jit-system --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- include "jit-rbac.alone" . -}}
{{- end -}}

{{/*
Fails for a second release in one cluster: the policies of each release would deny what the webhook of the other sets. Without a cluster, as
in `helm template`, nothing can be looked up; the ClusterRoles with fixed names then belong to the first release.
*/}}
{{- define "jit-rbac.alone" -}}
{{- $mine := include "jit-rbac.fullname" . -}}
{{- range $kind := list "MutatingWebhookConfiguration" "ValidatingWebhookConfiguration" -}}
{{- range $other := default list (lookup "admissionregistration.k8s.io/v1" $kind "" "").items -}}
{{- $names := list -}}
{{- range default list $other.webhooks -}}{{- $names = append $names .name -}}{{- end -}}
{{- $annotations := default dict $other.metadata.annotations -}}
{{- $release := get $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" -}}
{{- $own := or (eq $other.metadata.name $mine) (and (eq $release $.Release.Name) (eq $namespace $.Release.Namespace)) -}}
{{- if and (has "activations.jitrbac.dev" $names) (not $own) -}}
{{- $whose := ternary (printf "release '%s' in namespace '%s'" $release $namespace) "an installation without Helm" (ne $release "") -}}
{{- fail (printf "jit-rbac is already installed in this cluster: there is the %s '%s' of %s, and two installations deny each other's requests. Upgrade that one, or uninstall it first" $kind $other.metadata.name $whose) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
