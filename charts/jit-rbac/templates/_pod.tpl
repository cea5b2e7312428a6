{{/* Parts of both Deployments: (dict "root" $ "component" "controller" "values" .Values.controller "user" "..."). */}}
{{- define "jit-rbac.pod.metadata" -}}
labels:
  {{- include "jit-rbac.labels" . | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ printf "%s%s" (include "jit-rbac.config" .root) (include "jit-rbac.guards" .root) | sha256sum }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What both pods and that of `helm test` have in common. */}}
{{- define "jit-rbac.pod.account" -}}
serviceAccountName: {{ include (printf "jit-rbac.%sAccount" .component) .root }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with concat .root.Values.global.imagePullSecrets .root.Values.imagePullSecrets | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- $context := .root.Values.podSecurityContext }}
  {{- if .root.Values.openshift.enabled }}
  {{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
  {{- end }}
  {{- toYaml $context | nindent 2 }}
{{- end -}}

{{- define "jit-rbac.pod.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "jit-rbac.selector" . | nindent 8 }}
{{- end -}}

{{- define "jit-rbac.pod.image" -}}
image: {{ include "jit-rbac.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
{{- end -}}

{{- define "jit-rbac.pod.container" -}}
{{ include "jit-rbac.pod.image" . }}
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- with .root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
livenessProbe:
  httpGet: {path: /livez, port: health}
  initialDelaySeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- end -}}

{{/*
A pod spec with the value `podSpec` of its workload merged over it: (dict "root" $ "component" "controller" "spec" text). What the process
cannot do without is kept: its ServiceAccount, its arguments, its volumes.
*/}}
{{- define "jit-rbac.pod.merged" -}}
{{- $spec := fromYaml .spec -}}
{{- $path := printf "%s.podSpec" .component -}}
{{- $over := deepCopy (index .root.Values .component).podSpec -}}
{{- range $key := list "serviceAccountName" "serviceAccount" "automountServiceAccountToken" -}}
{{- if hasKey $over $key -}}
{{- fail (printf "%s.%s cannot be set: the process needs the token of its own ServiceAccount, which %s.serviceAccount names" $path $key $.component) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "containers" "volumes" -}}
{{- if and (hasKey $over $key) (not (kindIs "slice" (get $over $key))) -}}{{- fail (printf "%s.%s must be a list" $path $key) -}}{{- end -}}
{{- end -}}
{{- $ours := list -}}
{{- range $spec.volumes -}}{{- $ours = append $ours .name -}}{{- end -}}
{{- range default list $over.volumes -}}
{{- if has .name $ours -}}
{{- fail (printf "%s.volumes: the volume '%s' is the chart's own; use another name" $path .name) -}}
{{- end -}}
{{- end -}}
{{- range $container := default list $over.containers -}}
{{- if eq (toString $container.name) (index $spec.containers 0).name -}}
{{- range $key := list "args" "command" -}}
{{- if hasKey $container $key -}}
{{- fail (printf "%s.containers: %s of the container '%s' cannot be set: they follow from other values" $path $key $container.name) -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $container "volumeMounts") (not (kindIs "slice" $container.volumeMounts)) -}}
{{- fail (printf "%s.containers: volumeMounts must be a list" $path) -}}
{{- end -}}
{{- range default list $container.volumeMounts -}}
{{- if hasPrefix "/etc/jit-rbac" (toString .mountPath) -}}
{{- fail (printf "%s.containers: the container '%s' has the chart's own volumes at %s; use another mountPath" $path $container.name .mountPath) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $key := list "containers" "volumes" -}}
{{- if hasKey $over $key -}}
{{- include "jit-rbac.merge.named" (dict "into" $spec "key" $key "over" (get $over $key) "path" $path) -}}
{{- $_ := unset $over $key -}}
{{- end -}}
{{- end -}}
{{- include "jit-rbac.merge" (dict "into" $spec "over" $over) -}}
{{- toYaml $spec -}}
{{- end -}}

{{/* Merges a map into another one in place; null removes a key. Unlike mergeOverwrite it also takes over false, 0 and empty values. */}}
{{- define "jit-rbac.merge" -}}
{{- $into := .into -}}
{{- range $key, $value := .over -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $into $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $into $key)) -}}
{{- include "jit-rbac.merge" (dict "into" (get $into $key) "over" $value) -}}
{{- else -}}
{{- $_ := set $into $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Merges a list of named items into the list `key` of a map, by name: containers with their env and ports, volumes. */}}
{{- define "jit-rbac.merge.named" -}}
{{- $all := default list (get .into .key) -}}
{{- $path := printf "%s.%s" .path .key -}}
{{- range $item := .over -}}
{{- if not $item.name -}}{{- fail (printf "%s: every item needs a name" $path) -}}{{- end -}}
{{- $found := dict -}}
{{- range $all -}}{{- if eq .name $item.name -}}{{- $found = . -}}{{- end -}}{{- end -}}
{{- if $found -}}
{{- range $key := list "env" "ports" -}}
{{- with get $item $key -}}
{{- if eq $key "env" -}}
{{- /* A variable has a value or a source, so a variable of the same name is replaced. */ -}}
{{- $names := list -}}
{{- range . -}}{{- $names = append $names .name -}}{{- end -}}
{{- $others := list -}}
{{- range default list $found.env -}}{{- if not (has .name $names) -}}{{- $others = append $others . -}}{{- end -}}{{- end -}}
{{- $_ := set $found "env" $others -}}
{{- end -}}
{{- include "jit-rbac.merge.named" (dict "into" $found "key" $key "over" . "path" (printf "%s.%s" $path $item.name)) -}}
{{- $_ := unset $item $key -}}
{{- end -}}
{{- end -}}
{{- with $item.volumeMounts -}}
{{- $_ := set $found "volumeMounts" (concat (default list $found.volumeMounts) .) -}}
{{- $_ := unset $item "volumeMounts" -}}
{{- end -}}
{{- include "jit-rbac.merge" (dict "into" $found "over" $item) -}}
{{- else -}}
{{- $all = append $all $item -}}
{{- end -}}
{{- end -}}
{{- $_ := set .into .key $all -}}
{{- end -}}

{{- define "jit-rbac.pod.disruptionBudget" -}}
{{- if and .values.podDisruptionBudget.enabled (gt (int .values.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include (printf "jit-rbac.%s" .component) .root }}
  namespace: {{ .root.Release.Namespace | quote }}
  {{- include "jit-rbac.marks" . | nindent 2 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready does no work, so it may always be evicted.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "jit-rbac.selector" . | nindent 6 }}
{{- end }}
{{- end -}}
