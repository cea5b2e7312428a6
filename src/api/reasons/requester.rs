//! Reasons about the user who writes the object.

use super::{APPLY_ELIGIBILITY, APPLY_REQUEST, CREATE_DECISION, Example::Console, Explanation};

pub const UserInfoMissing: Explanation = Explanation {
    meaning: "Every request, decision, eligibility and policy records who wrote it. The webhook writes that record from the user \
              whom the API server authenticated, and replaces whatever the client sent. Here the record is missing, or names another \
              user: the webhook was not called, or another webhook changed its answer.",
    when: "When a request or decision is created, or an eligibility or policy is written. A request that is stored without this \
           record is never granted. The policies inside the API server check first, and their message has no reason: \
           `spec.requester is missing: jit-rbac's webhook, which sets it, was not called or is not running`.",
    examples: &[Console(
        CREATE_DECISION,
        &["UserInfoMissing: spec.decider names 'lead-1', but you are 'dev'; omit it, it is set automatically"],
    )],
    requester: "Leave the field out of your manifest, and try again in a moment. If the message stays the same, tell an admin.",
    admin: "Check the Deployment of the webhook and its MutatingWebhookConfiguration. If both are in order, look for another webhook \
            that changes these objects afterwards, and exempt the group `jitrbac.dev` from it.",
};

pub const SystemUserNotAllowed: Explanation = Explanation {
    meaning: "Names that begin with `system:` belong to Kubernetes: components, nodes, anonymous callers. Such users can neither \
              request nor decide. The only exception is a valid ServiceAccount name, `system:serviceaccount:<namespace>:<name>`.",
    when: "When a request or decision is created.",
    examples: &[Console(
        APPLY_REQUEST,
        &["SystemUserNotAllowed: 'system:admin' is reserved for Kubernetes and cannot request or decide; sign in with your own user"],
    )],
    requester: "Sign in as yourself. `kubectl auth whoami` prints the user that the API server sees.",
    admin: "Give people accounts of their own. If your sign-in maps people to names that begin with `system:`, correct the mapping: \
            Kubernetes gives some of these names rights of their own.",
};

pub const ServiceAccountNotAllowed: Explanation = Explanation {
    meaning: "A user who may start a pod under a ServiceAccount, or create a token for it, can request in its name. So an \
              eligibility must state that it is also for ServiceAccounts, and its policy must require the approval of a person.",
    when: "When an eligibility is written, and on its condition `Ready`. When a ServiceAccount creates a request, or an emergency: \
           an emergency skips approval.",
    examples: &[
        Console(
            APPLY_ELIGIBILITY,
            &[
                "ServiceAccountNotAllowed: spec.subjects lists the ServiceAccount 'deployer'; this requires spec.allowServiceAccounts: true",
                "ServiceAccountNotAllowed: spec.allowServiceAccounts is true and policy 'refunds-policy' approves automatically: a ServiceAccount needs an approver",
            ],
        ),
        Console(
            APPLY_REQUEST,
            &[
                "ServiceAccountNotAllowed: 'system:serviceaccount:ci:deployer' is a ServiceAccount, and eligibility 'payments-oncall' does not allow ServiceAccounts (spec.allowServiceAccounts)",
            ],
        ),
    ],
    requester: "Request as a person. If a program must request, ask an admin for an eligibility for ServiceAccounts.",
    admin: "Set `rel.spec.allowServiceAccounts`, name the ServiceAccount among the subjects, and use a policy with stages. Set the \
            subject's `uid`, so that a recreated ServiceAccount does not inherit the eligibility. The groups of a ServiceAccount \
            never make it eligible.",
};

pub const NotEligible: Explanation = Explanation {
    meaning: "The eligibility does not name you. Neither your user name nor one of your groups is among its subjects, or the subject \
              has a `uid` and yours is different.",
    when: "When a request is created. A pending request ends as Denied, a scheduled one as Revoked. An active grant is revoked when \
           its requester is removed from the eligibility.",
    examples: &[Console(
        APPLY_REQUEST,
        &["NotEligible: 'outsider' is not among the subjects of eligibility 'payments-oncall', neither by name nor by a group…"],
    )],
    requester: "`kubectl auth whoami` prints your name and groups as the API server sees them. `kubectl get rel -o yaml` prints the \
                subjects of each eligibility. `kubectl jit whoami` and `kubectl jit describe ELIGIBILITY` print both in short. If \
                you were added to a group, sign in again: the old token does not contain it.",
    admin: "Add the person or their group to `rel.spec.subjects`. Names are compared byte by byte, with the prefix that your sign-in \
            adds (`oidc:`). The groups are those that the API server reported when the request was created.",
};
