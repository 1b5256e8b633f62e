//! Findings in plain sentences: one a question.

use super::findings::{DifferenceRow, Finding, Report};
use super::numbers::{beyond, digits, ends};
use crate::intervention::Kind;
use crate::stats::{Crossing, FEWEST_ITEMS, HalfWay, Need, Verdict};
use crate::tasks::TaskName;

/// What the sentences rest on, said once.
pub(super) const NOTE: &str = "A manipulation stops mattering where half of the clean score is back (the half-way layer). It can be ignored from a layer up where a paired test shows that its loss there and at every swept layer above is within the margin. Two half-way layers are the same where a test of equivalence shows them to be less than 1 layer apart.";

/// What was found on one task by one variant.
pub(super) struct Told {
    /// What it speaks of: variant, task, items and clean score.
    pub(super) about: String,
    /// The sentences of each manipulation: the first answers where it stops mattering, the next
    /// from where it can be ignored, others say what else is to be known.
    pub(super) of: Vec<(Kind, Vec<String>)>,
}

/// The manipulation as what is done.
pub(super) fn doing(kind: Kind) -> &'static str {
    kind.manipulation().doing()
}

/// A mean clean score below which it is the questions that should be looked at first.
const SELDOM: f64 = 0.25;

fn percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

/// Runs of layers, as `8-10, 14`.
fn runs(runs: &[(u32, u32)]) -> String {
    let one = |&(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// One layer or several.
fn layers_word(list: &[(u32, u32)]) -> &'static str {
    match list {
        [(first, last)] if first == last => "layer",
        _ => "layers",
    }
}

impl Finding {
    /// The half-way layer with its interval, for a table.
    pub(super) fn half_way_text(&self) -> String {
        match &self.half_way {
            HalfWay::TooFew { scored } => format!("too few items ({scored} scored)"),
            HalfWay::Above { .. } => "above half everywhere".into(),
            HalfWay::NotReached { .. } => "not reached".into(),
            HalfWay::At(found) => {
                let ends = ends(found.low, found.high, &self.layers);
                match found.between {
                    Some((low, high)) => format!("{low}-{high} ({ends})"),
                    None => {
                        let by = digits(found.low, found.high);
                        format!("{:.by$} ({ends})", found.layer)
                    }
                }
            }
        }
    }

    /// Whether losses were tested at any layer.
    pub(super) fn tells_losses(&self) -> bool {
        !self.ignorable.by_layer.is_empty()
    }

    /// The layer from which up it can be ignored, for a table.
    pub(super) fn ignorable_text(&self) -> String {
        match self.ignorable.from {
            Some(layer) => layer.to_string(),
            // As where a sweep was to find the half-way layer alone.
            None if !self.tells_losses() => "not tested".into(),
            None => "not shown".into(),
        }
    }

    fn half_way_sentence(&self) -> String {
        let doing = doing(self.kind);
        match &self.half_way {
            HalfWay::TooFew { scored } => format!(
                "{doing}: too few items to say where it stops mattering. The clean model scores on {scored}; it takes {FEWEST_ITEMS}.{}",
                match self.clean < SELDOM {
                    true =>
                        " It seldom answers as expected: show it records with their answers (shots), or ask in other words.",
                    false => "",
                }
            ),
            HalfWay::Above { lowest, .. } => format!(
                "{doing} leaves more than half of the clean score at every swept layer (the lowest is {lowest})."
            ),
            HalfWay::NotReached { top, .. } => format!(
                "{doing} matters at every swept layer: at the top one ({top}) the score is {}, less than half of the clean {}.",
                percent(self.top),
                percent(self.clean)
            ),
            HalfWay::At(found) => self.crossing_sentence(found),
        }
    }

    fn crossing_sentence(&self, found: &Crossing) -> String {
        let doing = doing(self.kind);
        let level = (100.0 * self.level).round();
        let ends = ends(found.low, found.high, &self.layers);
        match found.between {
            Some((low, high)) => format!(
                "{doing} stops mattering between layers {low} and {high}, between which none was swept ({level}% interval {ends})."
            ),
            None => {
                let by = digits(found.low, found.high);
                format!(
                    "{doing} stops mattering at layer {:.by$} ({level}% interval {ends}).",
                    found.layer
                )
            }
        }
    }

    /// The paper's rule, for a table.
    pub(super) fn first_at_text(&self) -> String {
        match self.first_at {
            Some(Some(layer)) => layer.to_string(),
            Some(None) => "none swept".into(),
            None => String::new(),
        }
    }

    /// From where it can be ignored; nothing where there are too few items to say anything.
    fn ignorable_sentence(&self) -> Option<String> {
        if matches!(self.half_way, HalfWay::TooFew { .. }) && self.ignorable.from.is_none() {
            return None;
        }
        let margin = self.ignorable.margin;
        let top = self.ignorable.by_layer.last()?;
        if self.ignorable.vacuous {
            return Some(format!(
                "A margin of {margin} is more than half of the clean score and says nothing: choose a smaller one."
            ));
        }
        Some(match self.ignorable.from {
            Some(layer) if layer == top.layer => format!(
                "At layer {layer}, the top one swept, it can be ignored: the loss is at most {margin} (95%)."
            ),
            Some(layer) => format!(
                "From layer {layer} up it can be ignored: the loss is at most {margin} (95%)."
            ),
            None => format!(
                "A loss of at most {margin} is not shown at any layer: at the top one swept ({}) it may be up to {}{} (95%).",
                top.layer,
                beyond(100.0 * top.bound, 100.0 * margin.share()),
                match margin {
                    crate::stats::Margin::Points(_) => " points",
                    crate::stats::Margin::Relative(_) => "% of clean",
                }
            ),
        })
    }

    fn shape_sentences(&self) -> impl Iterator<Item = String> {
        let found = self.half_way.found();
        let above = found.map_or(&[][..], |f| &f.also_above);
        let falls = found.map_or(&[][..], |f| &f.falls);
        let above = (!above.is_empty()).then(|| {
            format!(
                "The curve is not monotone: the score is above half at {} {} too.",
                layers_word(above),
                runs(above)
            )
        });
        let falls = (!falls.is_empty()).then(|| {
            format!(
                "It falls below three quarters of clean again at {} {}.",
                layers_word(falls),
                runs(falls)
            )
        });
        above.into_iter().chain(falls)
    }

    fn overtaken_sentence(&self) -> Option<String> {
        let (layer, low, high) = self.overtakes?;
        let (first, last) = (self.layers.first()?, self.layers.last()?);
        Some(match layer {
            f64::INFINITY => {
                format!(
                    "The donor\u{2019}s answer is the commoner one up to the top layer ({last})."
                )
            }
            f64::NEG_INFINITY => format!(
                "The original answer is commoner than the donor\u{2019}s at every swept layer (the lowest is {first})."
            ),
            layer => {
                let by = digits(low, high);
                format!(
                    "The original answer overtakes the donor\u{2019}s at layer {layer:.by$} ({}).",
                    ends(low, high, &self.layers)
                )
            }
        })
    }

    /// All that is to be said, the answers first.
    fn sentences(&self) -> Vec<String> {
        let mut told = vec![self.half_way_sentence()];
        told.extend(self.ignorable_sentence());
        told.extend(self.overtaken_sentence());
        told.extend(self.shape_sentences());
        if !self.decided {
            told.push("The sweep has not yet found out all that it was to find out.".into());
        }
        told
    }
}

/// The findings of a report, a variant's task after the other.
pub(super) fn told(report: &Report<'_>) -> Vec<Told> {
    let several = report.run.variants.len() > 1;
    let same = |a: &Finding, b: &Finding| (a.variant, a.task) == (b.variant, b.task);
    let chunks = report.findings.chunk_by(same);
    chunks
        .map(|findings| {
            let one = &findings[0];
            let most = findings.iter().max_by_key(|f| f.items).unwrap_or(one);
            let name = match several {
                true => format!("{}, {}", one.label, one.task),
                false => one.task.to_string(),
            };
            let passages = match most.clusters == most.items {
                true => String::new(),
                false => format!(" about {} passages", most.clusters),
            };
            let spec = &report.run.variants[one.variant].spec;
            let swept = match spec.until {
                Some(_) => ", each with as many items as it took to know",
                None => "",
            };
            Told {
                about: format!(
                    "{name}: {} items{passages}, clean {} {}, {} layers{swept}",
                    most.items,
                    one.metric.name(),
                    percent(most.clean),
                    one.n_layer
                ),
                of: findings
                    .iter()
                    .map(|f| {
                        let mut sentences = f.sentences();
                        if f.items < most.items {
                            sentences.push(format!("{} of the items ran under it.", f.items));
                        }
                        (f.kind, sentences)
                    })
                    .collect(),
            }
        })
        .collect()
}

impl DifferenceRow {
    /// `+0.1 (-0.1 to +0.3)`; without an interval where none is given.
    pub(super) fn layers_text(&self) -> String {
        let d = &self.difference;
        if !d.found {
            return format!("{:+.1} or more", d.layers).replace("+0.0 or more", "unknown");
        }
        let (low, high) = d.interval;
        let by = digits(low, high);
        format!("{:+.by$} ({low:+.by$} to {high:+.by$})", d.layers)
    }

    /// In a word or two, for a table.
    pub(super) fn verdict_text(&self) -> String {
        match self.verdict {
            Verdict::Different => "different".into(),
            Verdict::Same => "same within 1 layer".into(),
            Verdict::WithinNoise => "within the noise floor".into(),
            Verdict::Undecided(_) => "undecided".into(),
        }
    }

    /// What would decide, where anything does.
    fn need_text(&self) -> Option<String> {
        let Verdict::Undecided(need) = self.verdict else {
            return None;
        };
        Some(match need {
            Need::Items(n) => format!("about {n} more items would decide"),
            Need::Layers => "the swept layers lie too far apart: sweep those between".into(),
            Need::Unknown if !self.difference.found => {
                "half of clean is not crossed by both within the swept layers".into()
            }
            Need::Unknown => "the interval is open: more items are needed".into(),
        })
    }

    /// The manipulation with its difference: the interval is the one that the verdict rests on.
    fn clause(&self) -> String {
        let d = &self.difference;
        let need = self.need_text();
        let need = need.map_or(String::new(), |need| format!("; {need}"));
        if !d.found {
            return format!("{} ({}{need})", self.kind, self.layers_text());
        }
        let (percent, (low, high)) = match self.verdict {
            Verdict::Same => (90, d.narrow),
            _ => (95, d.interval),
        };
        let by = digits(low, high);
        format!(
            "{} ({:+.by$}, {percent}% interval {low:+.by$} to {high:+.by$}{need})",
            self.kind, d.layers
        )
    }
}

/// A sentence for each other variant and task.
pub(super) fn comparisons(report: &Report<'_>) -> Vec<(usize, TaskName, String)> {
    let tasks = report
        .run
        .variants
        .first()
        .map_or(0, |v| v.spec.tasks.len());
    let same = |a: &DifferenceRow, b: &DifferenceRow| (&a.variant, a.task) == (&b.variant, b.task);
    let chunks = report.differences.chunk_by(same);
    chunks
        .map(|rows| {
            let one = &rows[0];
            let task = match tasks > 1 {
                true => format!(", {}", one.task),
                false => String::new(),
            };
            let mut parts = Vec::new();
            for (word, is) in [
                ("different", Verdict::Different),
                ("the same within 1 layer", Verdict::Same),
                (
                    "no further apart than rounding moves them",
                    Verdict::WithinNoise,
                ),
            ] {
                let of = rows.iter().filter(|row| row.verdict == is);
                let of: Vec<String> = of.map(DifferenceRow::clause).collect();
                if !of.is_empty() {
                    parts.push(format!("{word} under {}", of.join(", ")));
                }
            }
            let open = rows.iter();
            let open = open.filter(|row| matches!(row.verdict, Verdict::Undecided(_)));
            let open: Vec<String> = open.map(DifferenceRow::clause).collect();
            if !open.is_empty() {
                parts.push(format!("undecided under {}", open.join(", ")));
            }
            let text = format!(
                "{} against {}{task}: {}.",
                one.variant.1,
                one.reference,
                parts.join("; ")
            );
            (one.variant.0, one.task, text)
        })
        .collect()
}
