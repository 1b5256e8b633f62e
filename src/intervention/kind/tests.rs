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
