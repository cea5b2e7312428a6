//! The maximum size of a product object with its metadata. Any author of one could otherwise fill the memory of its readers (T45). The
//! admission policies limit what they can count, and the webhook measures the whole object.

use super::refusal::Refusal;
use api::Reason;

/// The size of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Number of labels.
    pub labels: usize,
    /// Number of annotations.
    pub annotations: usize,
    /// Characters of all annotation values.
    pub annotation_text: usize,
    /// Number of owner references.
    pub owners: usize,
    /// Number of finalizers.
    pub finalizers: usize,
    /// Number of entries in `managedFields`, one per writer.
    pub managers: usize,
    /// Bytes of the whole object as JSON.
    pub bytes: usize,
}

/// For a request or a decision: several times what kubectl, `GitOps` and admission add. The schema limits the spec.
pub const OF_A_RECORD: Size =
    Size { labels: 32, annotations: 32, annotation_text: 16 << 10, owners: 1, finalizers: 16, managers: 16, bytes: 128 << 10 };

/// For an eligibility or a policy: as much as their schemas allow, twice, since `kubectl apply` copies the object into an annotation.
pub const OF_A_RULE: Size =
    Size { labels: 64, annotations: 64, annotation_text: 256 << 10, owners: 16, finalizers: 16, managers: 32, bytes: 768 << 10 };

impl Size {
    /// Refuses an object that exceeds `most` in some respect. A change is refused only if the object also exceeds `before`, so that a
    /// stored object can still be deleted and migrated.
    pub fn within(&self, most: &Self, before: Option<&Self>, kind: &str) -> Result<(), Refusal> {
        let of =
            |size: &Self| [size.labels, size.annotations, size.annotation_text, size.owners, size.finalizers, size.managers, size.bytes];
        let what = [
            "labels",
            "annotations",
            "characters in annotations",
            "owner references",
            "finalizers",
            "entries in metadata.managedFields",
            "bytes as JSON",
        ];
        let grown = of(&before.copied().unwrap_or_default());
        let found = of(self).into_iter().zip(of(most)).zip(grown).zip(what);
        let mut above = found.filter(|(((has, most), before), _)| has > most && has > before);
        let Some((((has, most), _), what)) = above.next() else { return Ok(()) };
        Err(Refusal::new(Reason::ObjectTooLarge, format!("the {kind} has {has} {what}, at most {most} are allowed; reduce it")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f48_every_measure_has_a_bound_and_what_is_stored_already_may_stay() {
        type Measure = fn(&mut Size) -> &mut usize;
        let measures: [(Measure, &str); 7] = [
            (|size| &mut size.labels, "has 33 labels, at most 32 are allowed"),
            (|size| &mut size.annotations, "has 33 annotations, at most 32 are allowed"),
            (|size| &mut size.annotation_text, "has 16385 characters in annotations, at most 16384 are allowed"),
            (|size| &mut size.owners, "has 2 owner references, at most 1 are allowed"),
            (|size| &mut size.finalizers, "has 17 finalizers, at most 16 are allowed"),
            (|size| &mut size.managers, "has 17 entries in metadata.managedFields, at most 16 are allowed"),
            (|size| &mut size.bytes, "has 131073 bytes as JSON, at most 131072 are allowed"),
        ];
        assert_eq!(OF_A_RECORD.within(&OF_A_RECORD, None, "ActivationDecision"), Ok(()));
        for (measure, says) in measures {
            let mut size = OF_A_RECORD;
            *measure(&mut size) += 1;
            let refusal = size.within(&OF_A_RECORD, Some(&OF_A_RECORD), "ActivationDecision").unwrap_err();
            assert_eq!(refusal.to_string(), format!("ObjectTooLarge: the ActivationDecision {says}; reduce it"));
            assert_eq!(size.within(&OF_A_RECORD, None, "ActivationDecision"), Err(refusal));
            assert_eq!(size.within(&OF_A_RECORD, Some(&size), "ActivationDecision"), Ok(()), "it was as large before");
        }
    }
}
