//! Reasons about failures to create a RoleBinding.

use super::{Example::Console, Explanation, STATUS_OF_REQUEST};

pub const BindingConflict: Explanation = Explanation {
    meaning: "The RoleBinding of a grant is named `jit-<uid of the request>`. A RoleBinding with that name exists and is not this \
              grant. The operator never adopts it, and removes it if it has the label `jitrbac.dev/managed`.",
    when: "On a request in the state Failed.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["BindingConflict: RoleBinding 'jit-a28f3035-1a32-48a5-8898-23e83169ec19' already exists and differs from the grant: its \
             subjects differ"],
    )],
    requester: "Create another request: its RoleBinding has another name.",
    admin: "Only the operator may create RoleBindings with such names. Find out in the API server's audit log who created it, and \
            check that the policy `jit-rbac-bindings` exists and is unchanged.",
};

pub const BindingRefused: Explanation = Explanation {
    meaning: "The API server refused to create the RoleBinding, because of RBAC, a policy, or another admission webhook. The message \
              contains the API server's answer.",
    when: "On a request in the state Failed, if a retry cannot help. On a request in the state Pending, if it can: a quota is used \
           up, the API server answers with errors, or its clock is behind. The operator retries until the end of the grant.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &[
            r#"BindingRefused: the API server rejected the RoleBinding: rolebindings.rbac.authorization.k8s.io "jit-a28f3035-1a32-48a5-8898-23e83169ec19" is forbidden: user "system:serviceaccount:jit-system:jit-rbac-controller" … is attempting to grant RBAC permissions not currently held: …"#,
        ],
    )],
    requester: "Send the message to an admin. Request again when the cause is corrected.",
    admin: "`attempting to grant RBAC permissions not currently held` means that the role is not in `bindableRoles`, or that the \
            chart was not upgraded after it was added. If the message names another webhook, configure it to accept RoleBindings \
            with the label `jitrbac.dev/managed`.",
};
