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
  # Labels, annotations and the like are anybody's whom RBAC lets; who wrote the spec stays recorded.
  - name: sameSpec
    expression: variables.updating && dyn(object).spec == dyn(oldObject).spec
  # A finalizer keeps an object stored after its deletion, so it takes what the spec takes.
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
  # The operator makes none of these itself, but proves the policies with a dry run.
  - expression: "!variables.operator || request.?dryRun.orValue(false)"
    reason: Forbidden
    code: OperatorMakesNone
    message: the operator may not write {{ .many }}; only people do
  - expression: variables.sameSpec || variables.author != ''
    reason: Forbidden
    code: AuthorMissing
    message: >-
      the annotation jitrbac.dev/author is missing: jit-rbac's webhook, which writes it, was not asked or does not run. Try again
      in a moment; if it stays so, look at the Deployment {{ include "jit-rbac.webhook" .root }}
  - expression: variables.sameSpec || variables.author == request.userInfo.?username.orValue('')
    reason: Forbidden
    code: AuthorForged
    messageExpression: |-
      "the annotation jitrbac.dev/author is '" + variables.author + "', but you are '" + request.userInfo.?username.orValue('') +
      "': leave it out, it is written for you at each change of spec"
    message: "the annotation jitrbac.dev/author is not your user name: leave it out, it is written for you at each change of spec"
  # What it says, the webhook alone can hold against the cluster; here it stays with the spec that it is about.
  - expression: |-
      !variables.sameSpec ||
      object.metadata.?annotations[?'jitrbac.dev/author-check'].orValue('') ==
        oldObject.metadata.?annotations[?'jitrbac.dev/author-check'].orValue('')
    reason: Forbidden
    code: AuthorForged
    message: >-
      the annotation jitrbac.dev/author-check says what the check of the present spec's author rests on and changes only with it;
      leave it as it is
  - expression: |-
      !variables.sameSpec ||
      variables.author == oldObject.metadata.?annotations[?'jitrbac.dev/author'].orValue('')
    reason: Forbidden
    code: AuthorForged
    message: >-
      the annotation jitrbac.dev/author says who wrote the present spec and changes only with it; leave it as it is
  {{- .validations | nindent 2 }}
{{- end -}}
