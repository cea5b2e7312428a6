{{/*
The admission policies are the floor: they hold inside the API server also when no process of ours runs.

Three rules for every expression in this folder.
- A no-op update passes (storage migration), and once an object is being deleted anybody may take finalizers away with all
  else unchanged; otherwise foreground and orphan deletion hang, and a binding goes on granting.
- Optional fields are read through a default, `x.?y.orValue({})`, before anything in them is. On an optional held in a
  variable, `.?z` silently sees nothing, and a check that nothing fails lets everything pass.
- `dyn(...)` where a field is not in every type that the policy matches; otherwise the policy's status carries warnings.
*/}}

{{/* The head of a policy and, in the same document stream, its binding: (dict "root" $ "name" "requests"). */}}
{{- define "jit-rbac.policy.name" -}}{{ include "jit-rbac.fullname" .root }}-{{ .name }}{{- end -}}

{{- define "jit-rbac.policy.head" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "jit-rbac.policy.name" . }}
  {{- include "jit-rbac.marks" (dict "root" .root) | nindent 2 }}
{{- end -}}

{{- define "jit-rbac.policy.binding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "jit-rbac.policy.name" . }}
  {{- include "jit-rbac.marks" (dict "root" .root) | nindent 2 }}
spec:
  policyName: {{ include "jit-rbac.policy.name" . }}
  # Not Audit as well: the API server's audit log has the refusal anyhow, and two failed expressions of one write would each
  # cost a warning in the API server's own log.
  validationActions: [Deny]
{{- end -}}

{{/* Who writes and how. */}}
{{- define "jit-rbac.policy.variables" -}}
- name: operator
  expression: request.userInfo.username == {{ include "jit-rbac.controllerUser" .root | toJson }}
- name: creating
  expression: request.operation == 'CREATE'
- name: updating
  expression: request.operation == 'UPDATE'
- name: deleting
  expression: request.operation == 'DELETE'
{{- end -}}

{{/* What an object carries; not for DELETE, where there is none. */}}
{{- define "jit-rbac.policy.metadata" -}}
- name: labels
  expression: object.metadata.?labels.orValue({})
- name: annotations
  expression: object.metadata.?annotations.orValue({})
- name: owners
  expression: object.metadata.?ownerReferences.orValue([])
- name: finalizers
  expression: object.metadata.?finalizers.orValue([])
- name: managers
  expression: dyn(object).metadata.?managedFields.orValue([])
# Only for UPDATE.
- name: sameMetadata
  expression: |-
    variables.labels == oldObject.metadata.?labels.orValue({}) &&
    variables.annotations == oldObject.metadata.?annotations.orValue({}) &&
    variables.owners == oldObject.metadata.?ownerReferences.orValue([])
- name: sameFinalizers
  expression: |-
    variables.finalizers == oldObject.metadata.?finalizers.orValue([]) ||
    (has(oldObject.metadata.deletionTimestamp) &&
      variables.finalizers.all(f, f in oldObject.metadata.?finalizers.orValue([])))
{{- end -}}

{{/*
The validations of a policy, given as a list in YAML, and what they leave in the API server's audit log. Each has either a
`code`, or, where its expression asks the authorizer, `needs`: what is asked for.
- code: the first that refuses leaves its word as <policy>/code. Nothing is left of a write that the policy lets pass.
- needs: audit annotations may not ask the authorizer. So the word is left as <policy>/needs of every write to which it
  mattered; whether the right was there, the answer's own code says.
Variables that ask the authorizer would make the annotation, and with it every write, fail: where an expression uses one, `without`
is what is left of it without that question.
*/}}
{{- define "jit-rbac.policy.checks" -}}
{{- $checks := fromYamlArray . -}}
validations:
  {{- range $checks }}
  - {{ omit . "code" "needs" "without" | toYaml | nindent 4 | trim }}
  {{- end }}
auditAnnotations:
  {{- range $key := list "code" "needs" }}
  {{- $words := list }}
  {{- range $checks }}
  {{- with get . $key }}{{ $words = append $words . }}{{ end }}
  {{- end }}
  {{- if $words }}
  - key: {{ $key }}
    valueExpression: |-
      {{- range $check := $checks }}
      {{- with get $check $key }}
      !({{ regexReplaceAll "authorizer\\..*\\.allowed\\(\\)" (default $check.expression $check.without) "false" | nindent 8 | trim }}) ? '{{ . }}' :
      {{- end }}
      {{- end }}
      ''
  {{- end }}
  {{- end }}
{{- end -}}

{{/*
By this label the operator proves that the policy is in force: a dry run of an object that carries the policy's name
must be refused, and it is refused to everybody, the operator too. What is stored with it may still be let go.
*/}}
{{- define "jit-rbac.policy.probe" -}}
{{- $name := include "jit-rbac.policy.name" . -}}
- expression: |-
    variables.deleting || object.metadata.?labels[?'jitrbac.dev/probe'].orValue('') != '{{ $name }}' ||
    (variables.updating && oldObject.metadata.?labels[?'jitrbac.dev/probe'].orValue('') == '{{ $name }}')
  reason: Forbidden
  code: Probe
  message: >-
    the label jitrbac.dev/probe asks the policy {{ $name }} to refuse, which proves that it is in force; take the label off
{{- end -}}

{{/*
How much metadata an object may have: (dict "one" "request" "labels" 32 ...). Whoever may write one could otherwise fill the memory of all
who read it. Counts come first, so that no write costs the API server more than they allow. What is stored already may stay as large as
it is: it can be deleted and migrated. The webhook measures the object as a whole.
*/}}
{{- define "jit-rbac.policy.size" -}}
- expression: |-
    variables.deleting || (
      (size(variables.labels) <= {{ .labels }} ||
        (variables.updating && size(variables.labels) <= size(oldObject.metadata.?labels.orValue({})))) &&
      (size(variables.owners) <= {{ .owners }} ||
        (variables.updating && size(variables.owners) <= size(oldObject.metadata.?ownerReferences.orValue([])))) &&
      (size(variables.finalizers) <= {{ .finalizers }} ||
        (variables.updating && size(variables.finalizers) <= size(oldObject.metadata.?finalizers.orValue([])))) &&
      (size(variables.managers) <= {{ .managers }} ||
        (variables.updating && size(variables.managers) <= size(dyn(oldObject).metadata.?managedFields.orValue([])))) &&
      ((size(variables.annotations) <= {{ .annotations }} &&
          variables.annotations.map(k, size(variables.annotations[k])).sum() <= {{ .text }}) ||
        (variables.updating && variables.annotations == oldObject.metadata.?annotations.orValue({}))))
  reason: Forbidden
  code: ObjectTooLarge
  messageExpression: |-
    "the metadata is too large: it has " + string(size(variables.labels)) + " labels (at most {{ .labels }}), " +
    string(size(variables.annotations)) + " annotations (at most {{ .annotations }}, with {{ .text }} characters), " +
    string(size(variables.owners)) + " owners (at most {{ .owners }}), " + string(size(variables.finalizers)) +
    " finalizers (at most {{ .finalizers }}) and " + string(size(variables.managers)) + " entries in managedFields (at most {{ .managers }})"
  message: >-
    the {{ .one }} has too much metadata: at most {{ .labels }} labels, {{ .annotations }} annotations with {{ .text }} characters,
    {{ .owners }} owners, {{ .finalizers }} finalizers and {{ .managers }} entries in managedFields
{{- end -}}
