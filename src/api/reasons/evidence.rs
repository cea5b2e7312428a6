//! Reasons about evidence, tickets, hours and risks.

use super::{APPLY_ELIGIBILITY, APPLY_REQUEST, Example::Console, Explanation};

pub const TicketMissing: Explanation = Explanation {
    meaning: "The policy requires a ticket, and the request names none.",
    when: "When a request is created.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "TicketMissing: no ticket was given; policy 'ticketed' requires one of the system 'jira' whose number matches 'INC-[0-9]+' in spec.ticket",
        ],
    )],
    requester: "Set `spec.ticket: {system: jira, number: INC-4711}`. With the plugin: `--ticket`.",
    admin: "The rule is `apol.spec.requirements.ticket`. jit-rbac checks the form of the number. It does not ask the ticket system \
            whether the ticket exists.",
};

pub const TicketMismatch: Explanation = Explanation {
    meaning: "The policy requires a ticket system, a pattern for the number, or both. If a ticket is given, it must match even where \
              the policy does not require one.",
    when: "When a request is created.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "TicketMismatch: the ticket 'INC-1' names no system; policy 'two-eyes' requires 'jira' in spec.ticket.system",
            "TicketMismatch: the ticket 'INC-4711, or so' does not match 'INC-[0-9]+', which policy 'ticketed' requires for spec.ticket.number (the whole text must match)",
        ],
    )],
    requester: "Correct `spec.ticket`. The whole number must match the pattern.",
    admin: "The rule is `apol.spec.requirements.ticket`: `system` and `pattern`. The pattern always applies to the whole number, \
            also without `^` and `$`.",
};

pub const EvidenceMissing: Explanation = Explanation {
    meaning: "The policy requires evidence of how the person signed in, for example with a second factor. The API server passes such \
              evidence on in `userInfo.extra`. This call has no such key, so the request is refused.",
    when: "When a request is created. When an `Approve` is created, if the policy also requires evidence of approvers. A \
           ServiceAccount never has such evidence.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "EvidenceMissing: the sign-in of 'dev' has no 'jitrbac.dev/amr', and policy 'second-factor' requires 'mfa'; sign in again without impersonation; if that does not help, ask an admin whether the cluster's authentication passes 'jitrbac.dev/amr' on",
        ],
    )],
    requester: "Sign in again, yourself and without `--as`. `kubectl auth whoami -o yaml` prints what the API server knows about \
                your sign-in, under `extra`; `kubectl jit whoami` prints it in short. `kubectl jit activate` names the command with \
                which your credential plugin signs in again, and then retries once.",
    admin: "The keys must come from the API server's authentication (`claimMappings.extra` of its AuthenticationConfiguration). Many \
            managed clusters, and every proxy that impersonates its users, pass nothing on: see \
            [evidence](../known-limits.md#evidence-is-lost-behind-proxies).",
};

pub const EvidenceMismatch: Explanation = Explanation {
    meaning: "The sign-in shows the required key, but none of its values is one that the policy accepts. A typical cause is a \
              sign-in with a password alone where the policy requires a second factor.",
    when: "When a request is created. When an `Approve` is created, if the policy also requires evidence of approvers.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "EvidenceMismatch: the sign-in of 'dev' has 'jitrbac.dev/amr' with the value 'pwd', and policy 'two-eyes' requires one of 'mfa', 'hwk' (spec.requirements.authentication.claims); sign in again to meet this requirement",
        ],
    )],
    requester: "Sign out, and sign in again as the policy requires. `kubectl jit activate` names the command with which your \
                credential plugin does that, and then retries once.",
    admin: "The rule is `apol.spec.requirements.authentication.claims`: every entry must hold, each with any of its values. Compare \
            it with what your identity provider sends: `kubectl auth whoami -o yaml`.",
};

pub const EvidenceUnreadable: Explanation = Explanation {
    meaning: "The policy limits how old the sign-in may be. The key is there, but its value is not a time in whole seconds since \
              1970, it has several values, or the time is in the future.",
    when: "When a request is created. When an `Approve` is created, if the policy also requires evidence of approvers.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "EvidenceUnreadable: the sign-in of 'dev' has 'jitrbac.dev/auth-time' with the value 'today', which is not a time in seconds since 1970, and policy 'two-eyes' requires one at most 15m old (spec.requirements.authentication.maxAge); sign in again; if that does not help, ask an admin what the cluster's authentication passes on",
        ],
    )],
    requester: "Sign in again. If the message stays the same, tell an admin. `kubectl jit whoami` prints the values.",
    admin: "Map the claim as text: `string(claims.auth_time)` in `claimMappings.extra`. Check the clocks of the identity provider \
            and the API server: a time up to ten seconds in the future is accepted.",
};

pub const EvidenceTooOld: Explanation = Explanation {
    meaning: "The policy requires a recent sign-in, so that a session that was left open is not enough.",
    when: "When a request is created. When an `Approve` is created, if the policy also requires evidence of approvers. The age is \
           measured at the API server's time of that call.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "EvidenceTooOld: 'dev' signed in at 2026-11-02T09:44:59Z, 15m1s before the request or decision was created, and policy 'two-eyes' allows at most 15m (spec.requirements.authentication.maxAge); sign in again and retry",
        ],
    )],
    requester: "Sign in again, then request again. Many credential plugins store a token: delete it first (for example \
                `kubectl oidc-login clean` or `kubelogin remove-tokens`). `kubectl jit activate` names the command for your \
                kubeconfig, and then retries once.",
    admin: "The limit is `apol.spec.requirements.authentication.maxAge`. A refreshed token usually has the `auth_time` of the first \
            sign-in. The limit therefore applies to the sign-in, not to the token.",
};

pub const OutsideWindow: Explanation = Explanation {
    meaning: "The policy allows activations to start only in certain hours of a time zone. Active grants are not affected, unless \
              the window has `endsGrant`.",
    when: "When a request is created, for its start. Again when it is granted after an approval.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "OutsideWindow: a start at 2035-01-01T03:00:00Z is outside the windows of policy 'office-hours' (spec.windows), Mon, Tue, Wed, Thu, Fri 08:00 to 18:00 Europe/Oslo; the next one starts at 2035-01-01T07:00:00Z: request then, or request now with that time in spec.startTime",
        ],
    )],
    requester: "Request in those hours, or request now with `spec.startTime` at the next opening. Where the policy allows \
                emergencies, an emergency is not limited to hours. `kubectl jit can-i ELIGIBILITY --at TIME` checks another time, \
                and `kubectl jit activate --start TIME` requests it.",
    admin: "The hours are `apol.spec.windows`. Days and times are local times in `timeZone`, also on the days of a change to or from \
            summer time.",
};

pub const RiskNotAccepted: Explanation = Explanation {
    meaning: "With some permissions a person can keep access after the activation ends, for example by creating bindings or tokens, \
              or by approving certificates. The author of an eligibility for such a role must accept the risk in the eligibility.",
    when: "When an eligibility is written, and on its condition `Ready`. When a request is created or granted, for a Role of its \
           namespace, or if the role has changed since.",
    examples: &[Console(
        APPLY_ELIGIBILITY,
        &[
            "RiskNotAccepted: ClusterRole 'edit' can create serviceaccounts/token (class ServiceAccountTokens): access gained this way can outlive a grant; use a role without it, or add ServiceAccountTokens to spec.acceptRisks",
        ],
    )],
    requester: "Request an eligibility for a smaller role, or tell an admin.",
    admin: "Create a smaller role; that is nearly always possible. Otherwise add the class to `rel.spec.acceptRisks`, and read \
            [what was created during a grant stays](../known-limits.md#what-was-created-during-a-grant-stays). The built-in \
            `edit` has two such classes, `admin` has more.",
};
