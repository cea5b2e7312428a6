{{- define "jit-access.fullname" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "jit-access.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* People of a policy as RBAC subjects, into .all under a key that sorts and leaves duplicates out. */}}
{{- define "jit-access.people" -}}
{{- $all := .all -}}
{{- range .people.users -}}
{{- $parts := splitList ":" . -}}
{{- if and (hasPrefix "system:serviceaccount:" .) (eq (len $parts) 4) -}}
{{- include "jit-access.subject" (dict "all" $all "kind" "ServiceAccount" "namespace" (index $parts 2) "name" (index $parts 3)) -}}
{{- else -}}
{{- include "jit-access.subject" (dict "all" $all "kind" "User" "name" .) -}}
{{- end -}}
{{- end -}}
{{- range .people.groups -}}
{{- include "jit-access.subject" (dict "all" $all "kind" "Group" "name" .) -}}
{{- end -}}
{{- end -}}

{{- define "jit-access.subject" -}}
{{- $subject := dict "kind" .kind "name" .name -}}
{{- if eq .kind "ServiceAccount" -}}
{{- $_ := set $subject "namespace" .namespace -}}
{{- else -}}
{{- $_ := set $subject "apiGroup" "rbac.authorization.k8s.io" -}}
{{- end -}}
{{- $_ := set .all (printf "%s %s %s" .kind (default "" .namespace) .name) $subject -}}
{{- end -}}
