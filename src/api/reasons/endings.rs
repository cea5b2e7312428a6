//! Reasons about what ends a grant early.

use super::{Example::Console, Explanation, STATUS_OF_REQUEST};

pub const EligibilityRemoved: Explanation = Explanation {
    meaning: "The eligibility of the grant was deleted, so the operator revoked the grant at once. It counts as deleted only after \
              the API server has confirmed that. An eligibility that is being deleted counts as deleted, also while finalizers keep \
              it stored. The message names the finalizers.",
    when: "On a request in the state Revoked that was active or scheduled.",
    examples: &[Console(STATUS_OF_REQUEST, &["EligibilityRemoved: eligibility 'payments-oncall' was removed"])],
    requester: "Ask an admin whether the deletion was intended. If not, create another request when the eligibility exists again.",
    admin: "With GitOps, renaming or pruning an eligibility revokes its grants. An eligibility that is deleted and at once created \
            again with the same content counts as the same.",
};

pub const PolicyRemoved: Explanation = Explanation {
    meaning: "The policy of the grant was deleted or is being deleted, so the operator revoked the grant at once.",
    when: "On a request in the state Revoked.",
    examples: &[Console(STATUS_OF_REQUEST, &["PolicyRemoved: policy 'two-eyes' was removed"])],
    requester: "Ask an admin whether the deletion was intended.",
    admin: "Before you delete a policy, create the new one and change the eligibilities to refer to it.",
};

pub const RoleRemoved: Explanation = Explanation {
    meaning: "The granted Role or ClusterRole was deleted. The operator removed the RoleBinding: it would grant access again as soon \
              as a role with that name is created.",
    when: "On a request in the state Revoked.",
    examples: &[Console(STATUS_OF_REQUEST, &["RoleRemoved: the Role 'debug' was removed"])],
    requester: "Ask the people who manage the namespace. When the role exists again, create another request.",
    admin: "A Helm upgrade that replaces roles deletes them and creates them again. Configure it to update the existing roles.",
};

pub const RoleNotCovered: Explanation = Explanation {
    meaning: "The eligibility's `roleRef` was changed during the grant. The operator revoked the grant of the old role.",
    when: "On a request in the state Revoked.",
    examples: &[Console(STATUS_OF_REQUEST, &["RoleNotCovered: eligibility 'payments-oncall' now refers to ClusterRole 'view'"])],
    requester: "Create another request: it is for the new role.",
    admin: "To change the role without ending active grants, create a second eligibility and let the first one end.",
};

pub const DurationNoLongerAllowed: Explanation = Explanation {
    meaning: "A maximum was lowered below the duration of an active grant, or below its duration with its extensions. The operator \
              revoked the grant: the current maximum applies, not the one at the start.",
    when: "On a request in the state Revoked.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["DurationNoLongerAllowed: it was granted for 10m, but at most 5m is now allowed by eligibility 'payments-oncall' \
           (spec.maxDuration)"],
    )],
    requester: "Create another request within the new maximum.",
    admin: "The message names the field. Before you lower a maximum, list the active grants: \
            `kubectl get rar -A --field-selector status.state=Active`.",
};

pub const RoleChanged: Explanation = Explanation {
    meaning: "The rules of the role are no longer those that were approved. Before the grant, a change invalidates the approvals. \
              During the grant, the policy decides whether the change is reported or ends the grant.",
    when: "On a request in the state Revoked, if the policy sets `onRoleChange: Revoke`. Also if the policy does not set it and the \
           role gained a class of risk that outlives a grant and that the eligibility does not accept. Otherwise on a request that \
           stays Active, and in an Event of the type Warning.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &[
            "RoleChanged: the rules of the ClusterRole 'edit' changed, and policy 'two-eyes' sets Revoke for this case (spec.onRoleChange)",
            "RoleChanged: ClusterRole 'edit' in namespace 'payments' until 2026-11-22T20:13:33Z; the role's rules have changed since it was granted",
        ],
    )],
    requester: "If the grant was revoked, create another request: the approvers then see the new rules. If the change was only \
                reported, the grant continues.",
    admin: "The setting is `apol.spec.onRoleChange`. An aggregated ClusterRole such as `edit` or `admin` changes whenever a CRD is \
            installed together with roles that are aggregated into it. A new rule that allows nothing more is no change.",
};

pub const ExtendedRequestEnded: Explanation = Explanation {
    meaning: "An activation and its extensions belong together. If one of them ends early, the operator ends the others too.",
    when: "On a request in the state of the one that ended early: Deactivated or Revoked. If a request expires, its extension \
           continues.",
    examples: &[Console(STATUS_OF_REQUEST, &["ExtendedRequestEnded: 'inc-4710', which it extends, ended early"])],
    requester: "Read the reason of the other request.",
    admin: "Nothing. A decision on one of them is enough to end all of them.",
};

pub const BindingRemoved: Explanation = Explanation {
    meaning: "The RoleBinding of the grant was deleted, but not by the operator. It stays deleted: the operator does not create it \
              again.",
    when: "On a request in the state Revoked, and as an Event of the type Warning.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["BindingRemoved: RoleBinding 'jit-a28f3035-1a32-48a5-8898-23e83169ec19' was removed by another client before its end"],
    )],
    requester: "Create another request, unless the deletion was intended.",
    admin: "The API server's audit log shows who deleted it. A user who may delete RoleBindings in a namespace can end a grant \
            there. This needs no permission of jit-rbac.",
};

pub const BindingModified: Explanation = Explanation {
    meaning: "The subject, role, label or annotations of the RoleBinding are no longer what was granted. The operator removed the \
              RoleBinding, and does not repair it. Labels and annotations that jit-rbac does not use are ignored.",
    when: "On a request in the state Revoked, and as an Event of the type Warning.",
    examples: &[Console(
        STATUS_OF_REQUEST,
        &["BindingModified: RoleBinding 'jit-a28f3035-1a32-48a5-8898-23e83169ec19' was modified by another client: its subjects were \
           changed"],
    )],
    requester: "Create another request.",
    admin: "The policy `jit-rbac-bindings` refuses such changes by every user but the operator. If a change was accepted, that \
            policy was missing or changed. Check it first, then find out in the API server's audit log who changed the RoleBinding.",
};

pub const Uninstalled: Explanation = Explanation {
    meaning: "An admin uninstalled jit-rbac while the grant was active. Before Helm removes the operator, a Job of the chart stops new \
              grants, removes every RoleBinding of the operator, and records the end in the requests.",
    when: "On a request in the state Revoked, after `helm uninstall` or after the command `jit-rbac revoke-all`.",
    examples: &[Console(STATUS_OF_REQUEST, &["Uninstalled: jit-rbac is being uninstalled, and every grant was revoked"])],
    requester: "Nothing can be activated until jit-rbac is installed again. Then create another request.",
    admin: "Requests, decisions, eligibilities and policies stay in the cluster while their CustomResourceDefinitions do. The page \
            [Running the operator](../operator.md#uninstall) describes the order, and how to uninstall without revoking.",
};
