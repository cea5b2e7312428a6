{{/*
Eligibilities and policies, which admins write: (dict "root" $ "name" "eligibilities" "many" "eligibilities" "resource" ...).
*/}}
{{- define "jit-rbac.policy.authored.spec" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
    - apiGroups: [jitrbac.dev]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE]
      resources: [{{ .resource }}]
variables:
  {{- include "jit-rbac.policy.variables" . | nindent 2 }}
  {{- include "jit-rbac.policy.metadata" . | nindent 2 }}
  - name: spec
    expression: dyn(object).spec
  # Labels and annotations may be changed by every user with the RBAC permission; the recorded author of the spec stays.
  - name: sameSpec
    expression: variables.updating && dyn(object).spec == dyn(oldObject).spec
  # A finalizer keeps an object stored after its deletion, so adding one requires what a change of the spec requires.
  - name: addsFinalizers
    expression: |-
      object.metadata.?finalizers.orValue([]).exists(f,
        !variables.updating || !(f in oldObject.metadata.?finalizers.orValue([])))
  - name: author
    expression: variables.annotations[?'jitrbac.dev/author'].orValue('')
  {{- .variables | nindent 2 }}
{{ include "jit-rbac.policy.checks" (include "jit-rbac.policy.authored.checks" .) }}
{{- end -}}

{{- define "jit-rbac.policy.authored.checks" -}}
  {{- include "jit-rbac.policy.probe" . | nindent 2 }}
  {{- include "jit-rbac.policy.size" (dict "one" .one "labels" 64 "annotations" 64 "text" 262144 "owners" 16 "finalizers" 16 "managers" 32) | nindent 2 }}
  # The operator creates none of these itself, but verifies the policies with a dry run.
  - expression: "!variables.operator || request.?dryRun.orValue(false)"
    reason: Forbidden
    code: OperatorMakesNone
    message: the operator must not write {{ .many }}; only users do
  - expression: variables.sameSpec || variables.author != ''
    reason: Forbidden
    code: AuthorMissing
    message: >-
      the annotation jitrbac.dev/author is missing: jit-rbac's webhook, which sets it, was not called or is not running. Retry in
      a moment; if the error persists, check the Deployment {{ include "jit-rbac.webhook" .root }}
  - expression: variables.sameSpec || variables.author == request.userInfo.?username.orValue('')
    reason: Forbidden
    code: AuthorForged
    messageExpression: |-
      "the annotation jitrbac.dev/author is '" + variables.author + "', but you are '" + request.userInfo.?username.orValue('') +
      "': omit it, the webhook sets it at each change of spec"
    message: "the annotation jitrbac.dev/author is not your user name: omit it, the webhook sets it at each change of spec"
  # Only the webhook can verify its content; this rule ties it to the spec that it describes.
  - expression: |-
      !variables.sameSpec ||
      object.metadata.?annotations[?'jitrbac.dev/author-check'].orValue('') ==
        oldObject.metadata.?annotations[?'jitrbac.dev/author-check'].orValue('')
    reason: Forbidden
    code: AuthorForged
    message: >-
      the annotation jitrbac.dev/author-check records the check of the current spec's author and changes only with the spec;
      do not change it
  - expression: |-
      !variables.sameSpec ||
      variables.author == oldObject.metadata.?annotations[?'jitrbac.dev/author'].orValue('')
    reason: Forbidden
    code: AuthorForged
    message: >-
      the annotation jitrbac.dev/author records the author of the current spec and changes only with the spec; do not change it
  {{- .validations | nindent 2 }}
{{- end -}}
