//! Reasons about decisions on a request.

use super::{CREATE_DECISION, Example::Console, Explanation};

pub const RequestNotFound: Explanation = Explanation {
    meaning: "The decision names a request that does not exist in the namespace of the decision.",
    when: "When a decision is created.",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "RequestNotFound: there is no request 'inc-4712' in namespace 'billing'; 'kubectl get roleactivationrequests -n billing' lists them",
        ],
    )],
    requester: "Create the decision in the namespace of the request (`-n`), and correct `spec.requestRef.name`. \
                `kubectl jit pending` lists pending requests in all namespaces.",
    admin: "Nothing. Completed requests are deleted after their retention, or with their namespace.",
};

pub const RequestMismatch: Explanation = Explanation {
    meaning: "A decision is for one request, not for a name: it records the UID of the request. The request that has this name now \
              has another UID than the one in the decision. The decision is never applied to it.",
    when: "When a decision is created. A stored decision on the old request never counts for the new one.",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "RequestMismatch: the decision is for request 'inc-4711' with UID a28f3035-1a32-48a5-8898-23e83169ec19, but the current request has UID 5d0c7a1e-93b4-4a0e-8f0e-7c2f1f6b9a55; check it and decide again",
        ],
    )],
    requester: "Read the request again, and create a new decision without `spec.requestRef.uid`: admission sets it.",
    admin: "Deleting a request, to create another one with the same name, needs the verb `purge`. Find out who did it and why.",
};

pub const SelfApprovalNotAllowed: Explanation = Explanation {
    meaning: "A requester cannot approve or review their own request, even if the policy lists them. The same applies to an account \
              with a similar name, and to a ServiceAccount that the requester can act as. Requesters end their own access with \
              `Deactivate`. `Deny` and `Revoke` are for other users, so that the record shows who ended the access.",
    when: "When a decision is created. For `Approve` the policy inside the API server usually refuses first, with a message without \
           a reason.",
    examples: &[Console(CREATE_DECISION, &["SelfApprovalNotAllowed: request 'inc-4711' is your own: use the decision Deactivate instead"])],
    requester: "To get the request approved, ask one of the approvers in `status.awaiting`. To end it, create a decision \
                `Deactivate`.",
    admin: "Two user names count as the same person if the chart's `identity.prefixes` and `identity.aliases` list them so. Keep \
            those lists correct. People who share one user name also count as the same person \
            ([shared names](../known-limits.md#people-who-share-one-user-name-are-one-person)). If the only approver also \
            requests, add a second approver. List people as approvers, not ServiceAccounts.",
};

pub const NotAnApprover: Explanation = Explanation {
    meaning: "`Approve` and `Deny` are for the users and groups that the policy lists in its stages. Neither your user name nor one \
              of your groups is listed.",
    when: "When a decision `Approve` or `Deny` is created. A stored decision counts only while its author is still listed.",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "NotAnApprover: 'outsider' may not approve under policy 'four-eyes': approvers are group leads (stage 'leads'), security (stage 'safety')…",
        ],
    )],
    requester: "Ask one of the approvers whom the message names. `kubectl auth whoami` prints your own name and groups.",
    admin: "The approvers are `apol.spec.approval.stages[].approvers`. A change of the policy invalidates earlier approvals.",
};

pub const NotARevoker: Explanation = Explanation {
    meaning: "`Revoke` is for the approvers of any stage and for the policy's `revokers`.",
    when: "When a decision `Revoke` is created.",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "NotARevoker: 'outsider' may not revoke under policy 'four-eyes': approvers are group leads (stage 'leads'), security (stage 'safety'), revokers group oncall…",
        ],
    )],
    requester: "Ask one of the users whom the message names. If it is urgent, ask an admin to suspend the eligibility, which ends \
                every grant under it.",
    admin: "Add the users who supervise access to `apol.spec.revokers`. They can end access, and never grant it.",
};

pub const NotTheRequester: Explanation = Explanation {
    meaning: "`Deactivate` is for the requester. Other users end a grant with `Revoke` or `Deny`, so that the record shows who ended \
              it.",
    when: "When a decision `Deactivate` is created.",
    examples: &[Console(
        CREATE_DECISION,
        &["NotTheRequester: only 'dev' can deactivate request 'inc-4711'; approvers and revokers use Revoke"],
    )],
    requester: "Use `decision: Revoke` if you are an approver or revoker. With the plugin: `kubectl jit revoke NAME`.",
    admin: "Nothing. If one person has two accounts, list them as the same person in the chart's `identity`.",
};

pub const AlreadyApproved: Explanation = Explanation {
    meaning: "Approvals are counted by person, not by decision. A second approval by the same person has no effect.",
    when: "When the same person creates a second `Approve` for the same digest.",
    examples: &[Console(
        CREATE_DECISION,
        &["AlreadyApproved: 'lead-1' approved request 'inc-4711' at …; another approver must approve too"],
    )],
    requester: "Ask another approver. If something has changed since your approval, the request has a new digest and its message \
                reports the change. Then you can approve again.",
    admin: "`apol.spec.approval.stages[].required` sets how many approvers a stage needs.",
};

pub const StageNotOpen: Explanation = Explanation {
    meaning: "Stages are decided in order. A stage opens when the previous one is complete. An approver in several stages counts in \
              the first one that lists them.",
    when: "When an `Approve` is created by an approver whose stage is not open.",
    examples: &[Console(
        CREATE_DECISION,
        &["StageNotOpen: 'security' is an approver of stage 'safety', but stage 'leads' is open now (0 of 2)"],
    )],
    requester: "Wait until `status.awaiting.stage` names your stage. You can deny at any time: `Deny` counts in every stage.",
    admin: "The order is that of `apol.spec.approval.stages`. To let approvers decide without waiting for others, list them in the \
            same stage.",
};

pub const RequestCompleted: Explanation = Explanation {
    meaning: "The request was granted, denied, withdrawn or timed out before your decision, or an earlier decision already has the \
              same effect. A decision without an effect is not stored.",
    when: "When one of these is created:\n\n\
           - an `Approve` of a request that is no longer pending\n\
           - a `Deny`, `Revoke` or `Deactivate` of a request that has ended\n\
           - a second decision of the same person against the request\n\
           - a `Review` of a request that is already reviewed",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "RequestCompleted: request 'inc-4711' is already Denied: there is nothing left to approve",
            "RequestCompleted: request 'inc-4711' has already ended (Deactivated): the decision Revoke would have no effect",
        ],
    )],
    requester: "Nothing. If it timed out, the requester must request again.",
    admin: "Nothing. If a decision counts and the grant stays active, check that the operator runs.",
};

pub const TooManyDecisions: Explanation = Explanation {
    meaning: "A request keeps every decision on it. One person can make at most 16 decisions `Approve` and `Review` on one request. \
              A request can have at most 64 decisions, or 16 plus three times the approvals that its policy requires, if that is \
              more.",
    when: "When an `Approve` or a `Review` is created. The limits do not apply to `Deny`, `Revoke` and `Deactivate`: they are \
           accepted while they have an effect.",
    examples: &[Console(
        CREATE_DECISION,
        &["TooManyDecisions: 'lead-1' has made 16 of at most 16 decisions Approve and Review on request 'inc-4711'; the requester must \
           create it again"],
    )],
    requester: "Ask the requester to create a new request.",
    admin: "Find out what changes often: an approval counts only for the policy, role and eligibility as they were at its creation.",
};

pub const RequestNotReady: Explanation = Explanation {
    meaning: "The request does not wait for approvers but for something else, for example because its policy or role does not exist. \
              It has no digest of what would be granted, so there is nothing to approve.",
    when: "When an `Approve` is created. The message contains what the request waits for.",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "RequestNotReady: request 'inc-4711' cannot be approved now: eligibility 'payments-oncall' refers to policy 'two-eyes', which does not exist",
        ],
    )],
    requester: "Wait until the request is in the state AwaitingApproval (`kubectl jit wait NAME`), then read it and approve. You can \
                deny it earlier, unless its policy does not exist.",
    admin: "Correct what the message names. `kubectl get rar -o wide` shows the reason of the request, which has a page here.",
};

pub const DigestStale: Explanation = Explanation {
    meaning: "An approval is for what the approver saw: the request, the eligibility, the policy, the namespace and every rule of \
              the role. The digest covers all of it. One of them has changed since, or the digest belongs to another request.",
    when: "When an `Approve` is created. Approvals that were given before a change no longer count. The message of the request \
           reports that, and the request waits again.",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "DigestStale: the digest '6a7ff3c2e1b09d486a7ff3c2e1b09d486a7ff3c2e1b09d486a7ff3c2e1b09d48' does not match what would be granted now, sha256:…; check request 'inc-4711' and decide again",
        ],
    )],
    requester: "Read the request, its eligibility and the role's rules in its status again. Then approve with the current \
                `status.digest`. `kubectl jit approve NAME` shows all of it and sends the digest of what it showed.",
    admin: "A change of a policy or role while a request waits invalidates its approvals. This is intended: an approval covers only \
            what the approver reviewed.",
};

pub const CommentMissing: Explanation = Explanation {
    meaning: "The policy requires a comment from every approver who approves or denies. The comment is stored in the decision.",
    when: "When an `Approve` or `Deny` without `spec.comment` is created for a request that waits for approval.",
    examples: &[Console(
        CREATE_DECISION,
        &["CommentMissing: policy 'four-eyes' requires a comment from approvers (spec.approval.requireComment); set spec.comment"],
    )],
    requester: "Set `spec.comment`. With the plugin: `-m`. The requester sees the comment.",
    admin: "The rule is `apol.spec.approval.requireComment`. `Revoke` needs no comment, so that it is not delayed.",
};

pub const NotAReviewer: Explanation = Explanation {
    meaning: "`Review` is for the users and groups that the policy lists as reviewers of emergencies, and never for the requester of \
              the emergency.",
    when: "When a decision `Review` is created.",
    examples: &[Console(
        CREATE_DECISION,
        &[
            "NotAReviewer: 'lead-1' may not review request 'inc-4715': reviewers are group security (spec.emergency.reviewers of the policy)…",
        ],
    )],
    requester: "Ask one of the reviewers whom the message names.",
    admin: "The reviewers are `apol.spec.emergency.reviewers`.",
};

pub const NoReviewPending: Explanation = Explanation {
    meaning: "The request is not an emergency, or it was never granted.",
    when: "When a decision `Review` is created.",
    examples: &[Console(CREATE_DECISION, &["NoReviewPending: request 'inc-4711' has no emergency grant: there is nothing to review"])],
    requester: "Nothing. `kubectl get adec` lists the decisions on the request.",
    admin: "Nothing.",
};
