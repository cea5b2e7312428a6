{{/*
Requests and decisions, which a person writes once and which carry who he is.
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
  # The operator makes none of these itself, but proves the policies with a dry run.
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
  - name: strangeGroups
    expression: variables.stamp.?groups.orValue([]).filter(g, !(g in variables.groups))
  {{- with .variables }}
  {{- . | nindent 2 }}
  {{- end }}
{{ include "jit-rbac.policy.checks" (include "jit-rbac.policy.activation.checks" .) }}
{{- end -}}

{{- define "jit-rbac.policy.activation.checks" -}}
  {{- include "jit-rbac.policy.probe" . | nindent 2 }}
  - expression: "!(variables.creating && variables.operator) || variables.probing"
    reason: Forbidden
    code: OperatorMakesNone
    message: the operator may not make {{ .one }}s; only people do
  - expression: "!variables.stamped || variables.stamp.?username.orValue('') != ''"
    reason: Forbidden
    code: StampMissing
    message: >-
      spec.{{ .stamp }} is missing: jit-rbac's webhook, which writes it, was not asked or does not run. Try again in a moment;
      if it stays so, tell an admin to look at the Deployment {{ include "jit-rbac.webhook" .root }}
  - expression: "!variables.stamped || !(request.userInfo.?username.orValue('') in ['', 'system:anonymous'])"
    reason: Forbidden
    code: SystemUser
    message: a {{ .one }} needs a person; sign in first
  - expression: "!variables.stamped || variables.stamp.?username.orValue('') == request.userInfo.?username.orValue('')"
    reason: Forbidden
    code: StampForged
    messageExpression: |-
      "spec.{{ .stamp }}.username is '" + variables.stamp.?username.orValue('') + "', but you are '" +
      request.userInfo.?username.orValue('') + "': leave spec.{{ .stamp }} out, it is written for you"
    message: "spec.{{ .stamp }}.username is not your user name: leave spec.{{ .stamp }} out, it is written for you"
  - expression: "!variables.stamped || variables.stamp.?uid.orValue('') == request.userInfo.?uid.orValue('')"
    reason: Forbidden
    code: StampForged
    message: "spec.{{ .stamp }}.uid is not your uid: leave spec.{{ .stamp }} out, it is written for you"
  - expression: "!variables.stamped || size(variables.strangeGroups) == 0"
    reason: Forbidden
    code: StampForged
    messageExpression: |-
      "spec.{{ .stamp }}.groups names groups that you are not in: " + variables.strangeGroups.join(', ') +
      ". Leave spec.{{ .stamp }} out, it is written for you"
    message: "spec.{{ .stamp }}.groups names a group that you are not in: leave spec.{{ .stamp }} out, it is written for you"
  - expression: |-
      !variables.stamped || variables.stamp.?extra.orValue({}).all(k,
        k in variables.extra && variables.stamp.extra[k].all(v, v in variables.extra[k]))
    reason: Forbidden
    code: StampForged
    message: >-
      spec.{{ .stamp }}.extra has a value that your credentials do not have: leave spec.{{ .stamp }} out, it is written for you
  - expression: "!variables.stamped || size(variables.finalizers) == 0"
    reason: Forbidden
    code: ForeignFinalizer
    message: a {{ .one }} has no finalizers; take metadata.finalizers out
  {{- with .validations }}
  {{- . | nindent 2 }}
  {{- end }}
  - expression: "!variables.updating || dyn(object).spec == dyn(oldObject).spec"
    reason: Forbidden
    code: Immutable
    message: a {{ .one }} cannot be changed; create another one
  - expression: "!variables.updating || variables.operator || (variables.sameMetadata && variables.sameFinalizers)"
    reason: Forbidden
    code: Immutable
    message: >-
      labels, annotations, owners and finalizers of a {{ .one }} stay as they were created: they belong to the record.
      Create another one if you need other ones
  # Asked for the whole cluster on purpose: `*` in one namespace contains every verb there, and its holder could remove a
  # refusal before it counts.
  - expression: |-
      !variables.deleting || variables.operator ||
      request.userInfo.username in {{ .root.Values.clusterControllers | toJson }} ||
      authorizer.group('jitrbac.dev').resource('{{ .resource }}').check('purge').allowed()
    reason: Forbidden
    needs: purge
    message: >-
      a {{ .one }} is a record and stays. To end access create an ActivationDecision with decision Deactivate or Revoke; to remove
      the record you need the verb purge on {{ .resource }}.jitrbac.dev in the whole cluster
{{- end -}}
