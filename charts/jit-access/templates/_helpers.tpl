{{- define "jit-access.fullname" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels and annotations of an object. */}}
{{- define "jit-access.marks" -}}
labels:
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
  app.kubernetes.io/name: {{ .Chart.Name }}
  app.kubernetes.io/instance: {{ .Release.Name | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  {{- with .Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Name of a binding of this role: (dict "root" $ "role" "..."). The roleRef of a binding is immutable, so another role needs another name,
and Helm replaces the binding.
*/}}
{{- define "jit-access.binding" -}}
{{- $name := printf "%s-%s" (include "jit-access.fullname" .root) .role -}}
{{- if gt (len $name) 253 -}}
{{- $name = printf "%s-%s" (trunc 244 $name) (sha256sum .role | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Adds the users and groups of a policy to .all as RBAC subjects, under a key that sorts them and removes duplicates. */}}
{{- define "jit-access.policy-people" -}}
{{- $all := .all -}}
{{- $policy := default dict .policy -}}
{{- range default list (default dict $policy.approval).stages -}}
{{- include "jit-access.people" (dict "all" $all "people" .approvers) -}}
{{- end -}}
{{- include "jit-access.people" (dict "all" $all "people" (default dict $policy.revokers)) -}}
{{- include "jit-access.people" (dict "all" $all "people" (default dict (default dict $policy.emergency).reviewers)) -}}
{{- end -}}

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

{{- define "jit-access.subjects" -}}
{{- $all := .all -}}
{{- range .eligibility.subjects -}}
{{- include "jit-access.subject" (dict "all" $all "kind" .kind "namespace" .namespace "name" .name) -}}
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

{{/* A binding: (dict "root" $ "role" "..." "namespace" "..." "all" subjects by key); cluster-wide without a namespace. */}}
{{- define "jit-access.bind" -}}
{{- $all := .all -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne .namespace "") }}
metadata:
  name: {{ include "jit-access.binding" . | quote }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  {{- include "jit-access.marks" .root | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .role | quote }}
subjects:
  {{- range $key := keys $all | sortAlpha }}
  - {{ get $all $key | toJson }}
  {{- end }}
{{ end -}}

{{/* Checks that the schema cannot express. */}}
{{- define "jit-access.check" -}}
{{- $known := list -}}
{{- range $name, $spec := .Values.policies -}}
{{- if $spec -}}{{- $known = append $known $name -}}{{- end -}}
{{- end -}}
{{- range $name, $spec := .Values.eligibilities -}}
{{- if and $spec (not (has $spec.policyRef.name (concat $known $.Values.externalPolicies))) -}}
{{- fail (printf "eligibilities.%s.policyRef.name: there is no policy %q in this release (policies: %s). If it is installed elsewhere, list it in externalPolicies" $name $spec.policyRef.name ($known | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- end -}}
{{- /* `helm template` has no cluster, so the lookup of the namespace finds nothing. */ -}}
{{- if and (lookup "v1" "Namespace" "" "kube-system") (not (.Capabilities.APIVersions.Has "jitrbac.dev/v1alpha1/RoleEligibility")) -}}
{{- fail "this cluster does not know the kinds of jit-rbac: install the chart jit-rbac first, with --wait, as a release of its own. Both charts in one release, or under one parent chart, do not work: Helm checks all objects before it creates the kinds, and admission needs jit-rbac to run" -}}
{{- end -}}
{{- end -}}
