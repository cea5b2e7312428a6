{{- define "jit-rbac.notify" -}}{{ include "jit-rbac.fullname" . }}-notify{{- end -}}
{{- define "jit-rbac.notifyAccount" -}}{{ default (include "jit-rbac.notify" .) .Values.notify.serviceAccount.name }}{{- end -}}
{{- define "jit-rbac.notifyUser" -}}system:serviceaccount:{{ .Release.Namespace }}:{{ include "jit-rbac.notifyAccount" . }}{{- end -}}

{{/* The configuration of the notify process. */}}
{{- define "jit-rbac.notify.config" -}}
{{- with .Values.notify -}}
{{- $authorities := or .authorities.configMap .authorities.secret -}}
{{- dict
  "operatorNamespace" $.Release.Namespace
  "lease" (include "jit-rbac.controller" $)
  "cluster" (default $.Release.Name .cluster)
  "consoleUrl" .consoleUrl
  "secrets" "/etc/jit-rbac/secrets"
  "allowedHosts" .allowedHosts
  "plainHosts" .plainHosts
  "allowedCIDRs" .allowedCIDRs
  "authorities" (ternary (printf "/etc/jit-rbac/authorities/%s" .authorities.key) "" (ne $authorities ""))
  "addresses" .addresses
  "defaultRules" .defaultRules
  "activeAssignments" .activeAssignments
| toPrettyJson -}}
{{- end -}}
{{- end -}}

{{- define "jit-rbac.notify.check" -}}
{{- with .Values.notify -}}
{{- if and .authorities.configMap .authorities.secret -}}
{{- fail "notify.authorities.configMap and notify.authorities.secret cannot be combined: set the one that has the CA" -}}
{{- end -}}
{{- with .serviceAccount -}}
{{- if and (not .create) (not .name) -}}
{{- fail "notify.serviceAccount.create is false: set notify.serviceAccount.name to the name of an existing ServiceAccount" -}}
{{- end -}}
{{- if eq .name "default" -}}
{{- fail "notify.serviceAccount.name must not be 'default': every pod in the namespace without a ServiceAccount of its own would have its permissions" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if has (include "jit-rbac.notifyAccount" .) (list (include "jit-rbac.controllerAccount" .) (include "jit-rbac.webhookAccount" .)) -}}
{{- fail "notify.serviceAccount.name must differ from the ServiceAccounts of controller and webhook: what talks to other servers must not have the permissions of the operator" -}}
{{- end -}}
{{- end -}}
