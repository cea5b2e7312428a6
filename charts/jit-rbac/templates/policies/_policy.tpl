{{/*
The admission policies are the baseline: the API server enforces them even when no jit-rbac process runs.

Three rules for every expression in this folder:
- A no-op update passes (storage migration), and once an object is being deleted every user may remove finalizers if all
  else is unchanged; otherwise foreground and orphan deletion hang, and a binding keeps granting.
- Optional fields are read through a default, `x.?y.orValue({})`, before a field in them is read. On an optional held in a
  variable, `.?z` silently finds nothing, and a check that never fails lets every request pass.
- `dyn(...)` where a field is not in every type that the policy matches; otherwise the policy's status has warnings.
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
  # Not Audit as well: the API server's audit log has the denial anyway, and each failed expression of a write would add a
  # warning to the API server's own log.
  validationActions: [Deny]
{{- end -}}

{{/* The user and the operation of a write. */}}
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

{{/* The metadata of the object; not for DELETE, which has no object. */}}
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
# For UPDATE only.
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
The validations of a policy, given as a list in YAML, and their annotations in the API server's audit log. Each has either a
`code`, or, where its expression calls the authorizer, `needs`: the verb that is checked.
- code: the first validation that denies writes its code as <policy>/code. An allowed write has no annotation.
- needs: audit annotations cannot call the authorizer. So the verb is written as <policy>/needs for every write that was
  checked; the response code of the write tells whether the user had the permission.
Variables that call the authorizer would make the annotation, and with it every write, fail: where an expression uses one, `without`
is the expression without that call.
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
With this label the operator verifies that the policy is in force: a dry run of an object that carries the policy's name
must be denied, and it is denied to every user, including the operator. A stored object that has the label can still be deleted.
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
Limits for the metadata of an object: (dict "one" "request" "labels" 32 ...). Without them a user who may write one could fill the memory
of every client that reads it. Counts are checked first, which bounds the cost in the API server. A stored object may keep its size, so
that it can be deleted and migrated. The webhook limits the size of the whole object.
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
