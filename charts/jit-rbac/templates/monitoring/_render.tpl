{{/*
Not empty if an object of the Prometheus operator is to be rendered, by the value `metrics.renderMode`: (dict "root" $ "kind" "PodMonitor"
"value" "metrics.podMonitor.enabled").
*/}}
{{- define "jit-rbac.monitoring" -}}
{{- $mode := .root.Values.metrics.renderMode -}}
{{- $known := .root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) -}}
{{- if and (eq $mode "failIfMissing") (not $known) -}}
{{- fail (printf "%s needs the kind monitoring.coreos.com/v1 %s, which this cluster does not have: install the Prometheus operator first, or set metrics.renderMode to skipIfMissing" .value .kind) -}}
{{- end -}}
{{- if or $known (eq $mode "alwaysRender") -}}yes{{- end -}}
{{- end -}}
