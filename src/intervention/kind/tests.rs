use super::*;

#[test]
fn names_are_read_as_they_are_written() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(json, format!("\"{}\"", kind.name()));
        assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), kind);
        assert!(kind.manipulation().parameters().len() <= MOST);
    }
    assert_eq!("patch".parse(), Ok(Kind::Inject));
    let error = "melt".parse::<Kind>().unwrap_err();
    assert!(error.contains("choose from freeze, random"), "{error}");
}

#[test]
fn no_two_manipulations_share_a_name_or_a_colour() {
    let mut names = Vec::new();
    let mut colours = Vec::new();
    for kind in Kind::ALL {
        let of = kind.manipulation();
        names.extend(of.synonyms().iter().chain([&of.name()]).copied());
        colours.push(of.colour());
    }
    let count = (names.len(), colours.len());
    names.sort_unstable();
    names.dedup();
    colours.sort_unstable();
    colours.dedup();
    assert_eq!((names.len(), colours.len()), count);
}

#[test]
fn parameters_are_written_where_they_are_not_the_default() {
    let read = |text: &str| text.parse::<Kind>();
    let double = read("scale:factor=2").unwrap();
    assert_eq!(double.to_string(), "scale:factor=2");
    assert_eq!(read("scale:factor=0.5"), Ok(Kind::Scale));
    assert_eq!(double.number("factor"), 2.0);
    assert_eq!(double.with_defaults(), Kind::Scale);
    assert_ne!(double, Kind::Scale);
    assert_ne!(double.tint(), 0.0);
    let both = read("add:unit=absolute:scale=-0.8").unwrap();
    assert_eq!(both.to_string(), "add:scale=-0.8:unit=absolute");
    assert_eq!(both.to_string().parse(), Ok(both));
    assert!(both.is_word("unit", "absolute") && Kind::Add.is_word("unit", "norm"));
    let json = serde_json::to_string(&both).unwrap();
    assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), both);
    for (text, why) in [
        (
            "scale:facto=2",
            "scale has no parameter 'facto'; it has factor",
        ),
        ("scale:factor=x", "'x' is not a number"),
        ("scale:factor=inf", "'inf' is not a number"),
        ("scale:2", "'2' after scale: is not a parameter"),
        ("add:unit=metre", "add:unit is one of norm, absolute"),
        ("freeze:factor=2", "freeze has no parameters"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn noise_elsewhere_takes_as_many_other_places() {
    let chosen = PositionSet::ranges([2..4]);
    let places = Kind::EqualNorm.places(1, &chosen, 9);
    assert_eq!(places.count_below(9), 2);
    assert!((0..9).all(|at| !(places.contains(at) && chosen.contains(at))));
    assert_eq!(places, Kind::EqualNorm.places(1, &chosen, 9));
    let all = Kind::EqualNorm.places(1, &PositionSet::all(), 9);
    assert_eq!(all.first(), None);
    assert_eq!(Kind::Random.places(1, &chosen, 9), chosen);
    // What states are given for ends with the prompt.
    let prompt = PositionSet::ranges([0..10]);
    assert_eq!(Kind::Filler.places(0, &PositionSet::all(), 9), prompt);
}
