//! Reasons about the state of a request.

use super::{Example::Console, Explanation, STATUS_OF_REQUEST};

pub const WaitingForApproval: Explanation = Explanation {
    meaning: "The request waits for approvers. `status.awaiting` lists who they are, how many approvals are missing, and until when. \
              Nothing is granted yet.",
    when: "On a request in the state AwaitingApproval. The message changes with every approval that counts. It also reports when an \
           earlier approval no longer counts, because something that was approved has changed.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["WaitingForApproval: waiting for approval in stage 'lead': 0 of 1 (approvers: group leads), expires at 2026-11-23T00:00:54Z"],
    )],
    requester: "Tell one of the approvers the name and namespace of your request. `kubectl jit get NAME` lists the approvers. They \
                see your justification, the role and the digest. If you no longer need the access, create a decision `Deactivate`: \
                the request ends as Withdrawn.",
    admin: "Approvers, stages, quorum and timeout are in `apol.spec.approval`. A change of the policy invalidates the approvals so \
            far.",
};

pub const StartScheduled: Explanation = Explanation {
    meaning: "The request is approved and starts in the future. The operator creates the RoleBinding at that time, after it has \
              checked everything again.",
    when: "On a request in the state Scheduled, until its `spec.startTime`.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["StartScheduled: ClusterRole 'edit' in namespace 'payments' from 2026-11-23T07:00:00Z until 2026-11-23T08:00:00Z"],
    )],
    requester: "Wait. If you no longer need the access, create a decision `Deactivate` (`kubectl jit deactivate NAME`). A request \
                cannot be changed: for another start, create another request.",
    admin: "An approver, or a user in `apol.spec.revokers`, can revoke a scheduled request like an active one. Changes of the \
            eligibility, policy or role count at the start, not only at the approval.",
};

pub const Granted: Explanation = Explanation {
    meaning: "The access is active. One RoleBinding in the namespace of the request names exactly the requester. Its annotations \
              contain the end of the grant.",
    when: "On a request in the state Active, and as an Event.",
    examples: &[Console(STATUS_OF_REQUEST, &["Granted: ClusterRole 'edit' in namespace 'payments' until 2026-11-22T20:13:33Z"])],
    requester: "Use the access. `status.expiresAt` is the end, which never moves later. When you are done, create a decision \
                `Deactivate` (`kubectl jit deactivate NAME`). Watches and shells that are open then \
                [stay open](../known-limits.md#open-connections-stay-open).",
    admin: "To end it, create a decision `Revoke` or `Deny`. `spec.suspended: true` on the eligibility ends every grant under it. \
            `kubectl get rolebindings -A -l jitrbac.dev/managed=true` lists all active grants.",
};

pub const Expired: Explanation = Explanation {
    meaning: "The grant reached its end, and the operator removed its RoleBinding. The end is recorded only after the API server has \
              reported that the RoleBinding no longer exists.",
    when: "On a request in the state Expired. `status.endedAt` is the time at which the operator observed that the RoleBinding no \
           longer exists.",
    examples: &[Console(STATUS_OF_REQUEST, &["Expired: expired at 2026-11-22T20:13:33Z"])],
    requester: "Create another request, with another name or with `kubectl create` and `metadata.generateName`. If you apply the \
                same manifest again, kubectl prints `unchanged` and nothing is granted. `kubectl jit activate -` repeats your last \
                request, and `kubectl jit activate -f FILE` repeats a manifest, each under a new name.",
    admin: "If requesters often need more time, raise `rel.spec.maxDuration` (and `apol.spec.limits.maxDuration`) rather than grant \
            standing access. The log line `grant expired: binding removed` has `late_ms`, the delay of the removal in milliseconds.",
};

pub const DeactivatedByRequester: Explanation = Explanation {
    meaning: "The requester deactivated the grant, and the operator removed the RoleBinding at once.",
    when: "On a request in the state Deactivated, after a decision `Deactivate` by its requester.",
    examples: &[Console(STATUS_OF_REQUEST, &[r#"DeactivatedByRequester: deactivated by dev: "found it""#])],
    requester: "Nothing. To get access again, create another request.",
    admin: "Nothing. The decision stays as a record: `kubectl get adec` lists it.",
};

pub const WithdrawnByRequester: Explanation = Explanation {
    meaning: "The requester withdrew the request before it was granted.",
    when: "On a request in the state Withdrawn, after a decision `Deactivate` by its requester while the request was pending or \
           scheduled.",
    examples: &[Console(STATUS_OF_REQUEST, &[r#"WithdrawnByRequester: withdrawn by dev: "not needed""#])],
    requester: "Nothing. To get access, create another request.",
    admin: "Nothing. Approvals of this request cannot be used for another one: each approval is for the UID and digest of one \
            request.",
};

pub const DeniedByApprover: Explanation = Explanation {
    meaning: "An approver or revoker denied the request before it was granted. The first valid denial ends the request, however many \
              approvals it has.",
    when: "On a request in the state Denied, after a decision `Deny` by an approver of any stage, or `Revoke` by an approver or \
           revoker.",
    examples: &[Console(STATUS_OF_REQUEST, &[r#"DeniedByApprover: denied by lead-1: "not during the freeze""#])],
    requester: "Read the comment, and talk to the approver or revoker. Then create another request that addresses the comment: a \
                shorter duration, another justification, another eligibility.",
    admin: "Nothing. `apol.spec.approval.stages[].approvers` lists who may deny, `apol.spec.revokers` who may also revoke.",
};

pub const RevokedByUser: Explanation = Explanation {
    meaning: "An approver or revoker ended an active or scheduled grant. The operator removed the RoleBinding at once.",
    when: "On a request in the state Revoked, after a decision `Revoke` or `Deny` by an approver, or `Revoke` by a revoker.",
    examples: &[Console(STATUS_OF_REQUEST, &[r#"RevokedByUser: revoked by security: "not on call""#])],
    requester: "Read the comment, and talk to the approver or revoker before you request again. Connections that are open continue to \
                work until they close.",
    admin: "If the grant was misused, look for what \
            [outlives a grant](../known-limits.md#what-was-created-during-a-grant-stays), such as tokens, bindings and pods.",
};

pub const ApprovalTimedOut: Explanation = Explanation {
    meaning: "Too few approvers approved within the time limit. Nothing was granted.",
    when: "On a request in the state TimedOut. The time limit is `apol.spec.approval.timeout` (24h by default), counted from the \
           creation of the request.",
    examples: &[Console(STATUS_OF_REQUEST, &["ApprovalTimedOut: the approval timed out at 2026-11-23T00:00:54Z"])],
    requester: "Create another request, and tell the approvers. `kubectl jit activate -` repeats your last request.",
    admin: "If this happens often, add approvers, set a longer `apol.spec.approval.timeout`, or have an approver on call. This \
            version sends no messages. Approvers find pending requests with \
            `kubectl get rar -A --field-selector status.state=AwaitingApproval`.",
};

pub const DeadlineExceeded: Explanation = Explanation {
    meaning: "The end of the grant had passed before the operator could create it, so nothing was granted. Start and end follow from \
              stored times alone. This happens when the operator was down, or when the duration is a few seconds.",
    when: "On a request in the state TimedOut.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["DeadlineExceeded: a grant from 2026-11-22T20:03:33Z would already have ended at 2026-11-22T20:03:38Z; request it again"],
    )],
    requester: "Create another request.",
    admin: "Find out why the operator did not grant in time: `kubectl get pods` and the log in its namespace. See \
            [when the operator is down](../known-limits.md#when-the-operator-is-down).",
};
