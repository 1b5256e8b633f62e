use super::super::{Kind, LayerSpan, PositionSet, Site};
use super::*;

fn editor(plan: Vec<Intervention>) -> Editor {
    Editor::new(plan.into(), 4)
}

/// A prior row, and the last one of its text.
fn met() -> [Met; 2] {
    [(0, true), (1, false)].map(|(position, prior)| Met {
        position,
        prior,
        output: !prior,
    })
}

fn input(
    editor: &mut Editor,
    layer: u32,
    position: u32,
    prior: bool,
    row: &mut [f32],
) -> Result<bool, Missed> {
    edit(
        editor,
        Target::Input,
        layer,
        (position, prior),
        row.len(),
        row,
    )
}

fn edit(
    editor: &mut Editor,
    target: Target,
    layer: u32,
    (position, prior): (u32, bool),
    part: usize,
    values: &mut [f32],
) -> Result<bool, Missed> {
    let row = Shown {
        position,
        prior,
        values,
    };
    let written = editor.edit(target, layer, part, &mut [row])?;
    Ok(written[0])
}

#[test]
fn a_function_of_rows_gets_all_that_it_names_at_once_and_freeze_saves_what_it_left() {
    let double = |layer: u32, positions: &[u32], rows: &mut [f32]| {
        assert_eq!((layer, positions), (1, &[0, 2][..]));
        assert_eq!(rows, [1.0, 2.0, 5.0, 6.0]);
        rows.iter_mut().for_each(|x| *x *= 2.0);
        Ok(())
    };
    let rows = Intervention::custom_rows(1, double);
    let some = PositionSet::ranges([0..1, 2..9]);
    let mut editor = editor(vec![Intervention::freeze(2), rows.at(some)]);
    let mut values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let mut shown: Vec<Shown<'_>> = (0u32..)
        .zip(values.chunks_mut(2))
        .map(|(position, values)| Shown {
            position,
            prior: position < 3,
            values,
        })
        .collect();
    let written = editor.edit(Target::Input, 1, 2, &mut shown).unwrap();
    assert_eq!(written, [true, false, true, false]);
    assert_eq!(values, [2.0, 4.0, 3.0, 4.0, 10.0, 12.0, 7.0, 8.0]);
    let mut row = [9.0, 9.0];
    assert!(input(&mut editor, 2, 2, true, &mut row).unwrap());
    assert_eq!(row, [10.0, 12.0]);
}

#[test]
fn a_function_of_rows_that_fails_stops_the_run() {
    let fails = |_, _: &[u32], _: &mut [f32]| Err("no".to_string());
    let mut editor = editor(vec![Intervention::custom_rows(1, fails)]);
    let error = input(&mut editor, 1, 0, true, &mut [1.0]).unwrap_err();
    assert_eq!(error, Missed::Function("no".into()));
}

#[test]
fn freeze_copies_the_state_below_and_spares_the_last_token() {
    let mut editor = editor(vec![Intervention::freeze(2)]);
    assert!(
        !editor.needs(Target::Input, 0)
            && editor.needs(Target::Input, 1)
            && editor.needs(Target::Input, 3)
    );
    let mut row = [1.0, 2.0];
    assert!(!input(&mut editor, 1, 0, true, &mut row).unwrap());
    for layer in 2..4 {
        let mut row = [9.0, 9.0];
        assert!(input(&mut editor, layer, 0, true, &mut row).unwrap());
        assert_eq!(row, [1.0, 2.0]);
        let mut last = [5.0, 5.0];
        assert!(!input(&mut editor, layer, 1, false, &mut last).unwrap());
        assert_eq!(last, [5.0, 5.0]);
    }
    assert_eq!(editor.settle(&met()), Ok(()));
}

#[test]
fn stacked_freeze_keeps_what_was_injected_below() {
    let mut states = States::new();
    states.insert(1, 0, vec![7.0, 7.0]);
    // Listed in either order, the freeze saves the state that really entered layer 1.
    let inject = Intervention::given(1, Arc::new(states), PositionSet::ranges([0..1]));
    for plan in [
        vec![inject.clone(), Intervention::freeze(2)],
        vec![Intervention::freeze(2), inject.clone()],
    ] {
        let mut editor = editor(plan);
        input(&mut editor, 1, 0, true, &mut [1.0, 2.0]).unwrap();
        let mut row = [9.0, 9.0];
        input(&mut editor, 2, 0, true, &mut row).unwrap();
        assert_eq!(row, [7.0, 7.0]);
    }
}

#[test]
fn a_layer_never_shown_is_a_miss() {
    let mut editor = editor(vec![Intervention::random(2, 1)]);
    let error = editor.settle(&met()).unwrap_err();
    assert!(matches!(
        error,
        Missed::Rows {
            layer: 2,
            touched: 0,
            expected: 1,
            ..
        }
    ));
}

#[test]
fn skip_attention_touches_every_row_and_the_outputs_of_the_last_layer() {
    let mut editor = editor(vec![Intervention::skip_attention(3)]);
    assert!(editor.needs(Target::Attention, 3) && !editor.needs(Target::Attention, 2));
    let mut row = [1.0];
    let edited = edit(&mut editor, Target::Attention, 3, (1, false), 1, &mut row);
    assert!(edited.unwrap());
    assert_eq!(row, [0.0]);
    assert_eq!(editor.settle(&met()), Ok(()));
    assert!(editor.settle(&met()).is_err());
}

#[test]
fn the_last_layer_s_attention_has_all_rows_with_logits_or_all_rows() {
    let all_output = met().map(|row| Met {
        output: true,
        ..row
    });
    let settled = |layer, shown: &[(u32, bool)], rows: &[Met]| {
        let mut editor = editor(vec![Intervention::skip_attention(layer)]);
        for layer in layer..4 {
            let shown = if layer == 3 {
                shown
            } else {
                &[(0, true), (1, false)]
            };
            for at in shown {
                let edited = edit(&mut editor, Target::Attention, layer, *at, 1, &mut [1.0]);
                assert!(edited.unwrap());
            }
        }
        editor.settle(rows).is_ok()
    };
    let (both, last, first) = ([(0, true), (1, false)], [(1, false)], [(0, true)]);
    for layer in [2, 3] {
        assert!(settled(layer, &both, &met()) && settled(layer, &last, &met()));
        assert!(settled(layer, &both, &all_output));
        // A row with logits was not met, or met twice.
        assert!(!settled(layer, &last, &all_output) && !settled(layer, &first, &all_output));
        assert!(!settled(layer, &[], &met()));
        assert!(!settled(layer, &[both[0], both[1], both[1]], &met()));
    }
}

#[test]
fn given_rows_must_be_there_and_fit() {
    let mut states = States::new();
    states.insert(1, 0, vec![7.0]);
    let plan = vec![Intervention::given(1, Arc::new(states), PositionSet::all())];
    let mut editor = editor(plan);
    assert!(matches!(
        input(&mut editor, 1, 0, true, &mut [1.0, 2.0]),
        Err(Missed::Width { .. })
    ));
    assert!(matches!(
        input(&mut editor, 1, 1, true, &mut [1.0, 2.0]),
        Err(Missed::NotGiven { .. })
    ));
}

#[test]
fn keys_are_rewritten_head_by_head_and_own_streams_can_be_held() {
    let random = Intervention::random(1, 7).on(Site::Keys);
    let mut own = States::new();
    own.insert(2, 0, vec![3.0, 3.0]);
    let mut editor = editor(vec![random]).pinned(1, Arc::new(own));
    assert!(editor.needs(Target::Keys, 1) && !editor.needs(Target::Values, 1));
    assert!(!editor.needs(Target::Input, 1) && editor.needs(Target::Input, 2));
    let mut row = [3.0, 4.0, 0.0, 0.0];
    let edited = edit(&mut editor, Target::Keys, 1, (0, true), 2, &mut row);
    assert!(edited.unwrap());
    assert!(
        (row[0].hypot(row[1]) - 5.0).abs() < 1e-5,
        "each head keeps its norm"
    );
    assert_eq!(row[2..], [0.0, 0.0]);
    let mut state = [1.0, 2.0];
    assert!(input(&mut editor, 2, 0, true, &mut state).unwrap());
    assert_eq!(state, [3.0, 3.0]);
    let mut last = [1.0, 2.0];
    assert!(!input(&mut editor, 2, 1, false, &mut last).unwrap());
    assert_eq!(editor.settle(&met()), Ok(()));
}

#[test]
fn heads_that_are_not_chosen_stay_whatever_the_action() {
    let site = Site::Heads(HeadSet::of([1]));
    let custom = Intervention::custom_rows(1, |_, _, rows| {
        rows.fill(9.0);
        Ok(())
    });
    for (plan, head) in [
        (Intervention::custom(1, |_, _, row| row.fill(9.0)), [9.0; 2]),
        (custom, [9.0; 2]),
        (
            Intervention::new(Kind::Zero.action(0, None), LayerSpan::only(1)),
            [0.0; 2],
        ),
    ] {
        let mut editor = editor(vec![plan.on(site)]);
        assert!(editor.needs(Target::Heads, 1) && !editor.needs(Target::Attention, 1));
        let mut row = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert!(edit(&mut editor, Target::Heads, 1, (0, true), 2, &mut row).unwrap());
        assert_eq!(row[..2], [1.0, 2.0]);
        assert_eq!(row[2..4], head);
        assert_eq!(row[4..], [5.0, 6.0]);
    }
}
