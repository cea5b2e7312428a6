{{/*
Requests and decisions, which a person creates once and which record who that is.
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
  # Old and new metadata without what the API server itself keeps there, for UPDATE. Written so that fields of later versions count too.
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
    message: the operator may not make {{ .one }}s; only people do
  - expression: "!variables.stamped || variables.stamp.?username.orValue('') != ''"
    reason: Forbidden
    code: UserInfoMissing
    message: >-
      spec.{{ .stamp }} is missing: jit-rbac's webhook, which writes it, was not asked or does not run. Try again in a moment;
      if it stays so, tell an admin to look at the Deployment {{ include "jit-rbac.webhook" .root }}
  - expression: "!variables.stamped || !(request.userInfo.?username.orValue('') in ['', 'system:anonymous'])"
    reason: Forbidden
    code: SystemUserNotAllowed
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
  - expression: "!variables.updating || variables.operator || variables.sameRecord"
    reason: Forbidden
    code: Immutable
    message: >-
      labels, annotations, owners and finalizers of a {{ .one }} stay as they were created: they belong to the record.
      Create another one if you need other ones
  # Everybody who may request may apply what is stored, which changes nothing but the list of those who do. That list has no bound of its own.
  - expression: |-
      !variables.updating || variables.operator || variables.managerCounts[1] <= variables.managerCounts[0] || (variables.managerCounts[1] <= 8 &&
        request.userInfo.username == dyn(oldObject).spec.?{{ .stamp }}.orValue({}).?username.orValue(''))
    reason: Forbidden
    code: Immutable
    message: >-
      only the person who made a {{ .one }} may apply it again, with at most 8 field managers; use the field manager of the first time
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
