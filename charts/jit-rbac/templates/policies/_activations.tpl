{{/*
Requests and decisions: a user creates them once, and they record that user.
(dict "root" $ "name" "requests" "one" "request" "resource" "roleactivationrequests" "stamp" "requester")
*/}}
{{- define "jit-rbac.policy.activation.spec" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
    - apiGroups: [jitrbac.dev]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE, DELETE]
      resources: [{{ .resource }}]
variables:
  {{- include "jit-rbac.policy.variables" . | nindent 2 }}
  # The operator creates none of these itself, but verifies the policies with a dry run.
  - name: probing
    expression: variables.operator && request.?dryRun.orValue(false)
  {{- include "jit-rbac.policy.metadata" . | nindent 2 }}
  - name: stamped
    expression: variables.creating && !variables.probing
  - name: stamp
    expression: dyn(object).spec.?{{ .stamp }}.orValue({})
  - name: groups
    expression: request.userInfo.?groups.orValue([])
  - name: extra
    expression: request.userInfo.?extra.orValue({})
  # Old and new metadata without the fields that the API server maintains, for UPDATE. Fields of later Kubernetes versions are compared too.
  - name: lasting
    expression: |-
      [dyn(oldObject), dyn(object)].map(o, o.metadata.transformMap(k, v,
        !(k in ['managedFields', 'resourceVersion', 'generation', 'finalizers']), v))
  - name: sameRecord
    expression: variables.lasting[0] == variables.lasting[1] && variables.sameFinalizers
  - name: managerCounts
    expression: "[dyn(oldObject), dyn(object)].map(o, size(o.metadata.?managedFields.orValue([])))"
  - name: strangeGroups
    expression: variables.stamp.?groups.orValue([]).filter(g, !(g in variables.groups))
  {{- with .variables }}
  {{- . | nindent 2 }}
  {{- end }}
{{ include "jit-rbac.policy.checks" (include "jit-rbac.policy.activation.checks" .) }}
{{- end -}}

{{- define "jit-rbac.policy.activation.checks" -}}
  {{- include "jit-rbac.policy.probe" . | nindent 2 }}
  {{- include "jit-rbac.policy.size" (dict "one" .one "labels" 32 "annotations" 32 "text" 16384 "owners" 1 "finalizers" 16 "managers" 16) | nindent 2 }}
  - expression: "!(variables.creating && variables.operator) || variables.probing"
    reason: Forbidden
    code: OperatorMakesNone
    message: the operator must not create {{ .one }}s; only users do
  - expression: "!variables.stamped || variables.stamp.?username.orValue('') != ''"
    reason: Forbidden
    code: UserInfoMissing
    message: >-
      spec.{{ .stamp }} is missing: jit-rbac's webhook, which sets it, was not called or is not running. Retry in a moment;
      if the error persists, ask an admin to check the Deployment {{ include "jit-rbac.webhook" .root }}
  - expression: "!variables.stamped || !(request.userInfo.?username.orValue('') in ['', 'system:anonymous'])"
    reason: Forbidden
    code: SystemUserNotAllowed
    message: a {{ .one }} requires an authenticated user; sign in first
  - expression: "!variables.stamped || variables.stamp.?username.orValue('') == request.userInfo.?username.orValue('')"
    reason: Forbidden
    code: StampForged
    messageExpression: |-
      "spec.{{ .stamp }}.username is '" + variables.stamp.?username.orValue('') + "', but you are '" +
      request.userInfo.?username.orValue('') + "': omit spec.{{ .stamp }}, the webhook sets it"
    message: "spec.{{ .stamp }}.username is not your user name: omit spec.{{ .stamp }}, the webhook sets it"
  - expression: "!variables.stamped || variables.stamp.?uid.orValue('') == request.userInfo.?uid.orValue('')"
    reason: Forbidden
    code: StampForged
    message: "spec.{{ .stamp }}.uid is not your uid: omit spec.{{ .stamp }}, the webhook sets it"
  - expression: "!variables.stamped || size(variables.strangeGroups) == 0"
    reason: Forbidden
    code: StampForged
    messageExpression: |-
      "spec.{{ .stamp }}.groups has groups that you are not a member of: " + variables.strangeGroups.join(', ') +
      "; omit spec.{{ .stamp }}, the webhook sets it"
    message: "spec.{{ .stamp }}.groups has a group that you are not a member of: omit spec.{{ .stamp }}, the webhook sets it"
  - expression: |-
      !variables.stamped || variables.stamp.?extra.orValue({}).all(k,
        k in variables.extra && variables.stamp.extra[k].all(v, v in variables.extra[k]))
    reason: Forbidden
    code: StampForged
    message: >-
      spec.{{ .stamp }}.extra has a value that your credentials do not have: omit spec.{{ .stamp }}, the webhook sets it
  - expression: "!variables.stamped || size(variables.finalizers) == 0"
    reason: Forbidden
    code: ForeignFinalizer
    message: a {{ .one }} must not have finalizers; remove metadata.finalizers
  {{- with .validations }}
  {{- . | nindent 2 }}
  {{- end }}
  - expression: "!variables.updating || dyn(object).spec == dyn(oldObject).spec"
    reason: Forbidden
    code: Immutable
    message: a {{ .one }} cannot be changed; create another one
  - expression: "!variables.updating || variables.operator || variables.sameRecord"
    reason: Forbidden
    code: Immutable
    message: >-
      labels, annotations, owners and finalizers of a {{ .one }} are immutable, since they belong to the record; create a new
      one instead
  # Every requester may apply a stored object again, which changes only managedFields. That list has no bound of its own.
  - expression: |-
      !variables.updating || variables.operator || variables.managerCounts[1] <= variables.managerCounts[0] || (variables.managerCounts[1] <= 8 &&
        request.userInfo.username == dyn(oldObject).spec.?{{ .stamp }}.orValue({}).?username.orValue(''))
    reason: Forbidden
    code: Immutable
    message: >-
      only the user who created a {{ .one }} may apply it again, with at most 8 field managers; use the original field manager
  # Checked for the whole cluster on purpose: `*` in one namespace includes every verb there, and its holder could delete a
  # denial before it takes effect.
  - expression: |-
      !variables.deleting || variables.operator ||
      request.userInfo.username in {{ .root.Values.clusterControllers | toJson }} ||
      authorizer.group('jitrbac.dev').resource('{{ .resource }}').check('purge').allowed()
    reason: Forbidden
    needs: purge
    message: >-
      a {{ .one }} is a record and cannot be deleted. To end access create an ActivationDecision with decision Deactivate or Revoke;
      deleting the record requires the verb purge on {{ .resource }}.jitrbac.dev in the whole cluster
{{- end -}}
