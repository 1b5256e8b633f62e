//! The manipulations. To add one, write its file and add its line here.

super::table::table! {
    freeze::Freeze,
    random::Random,
    shuffle::Shuffle,
    skip_attention::SkipAttention,
    hide::Hide,
    inject::Inject,
    zero::Zero,
    filler::Filler,
    splice::Splice,
    scale::Scale,
    skip_layer::SkipLayer,
    itself::Itself,
    add::Add,
    add_random::AddRandom,
    ablate::Ablate,
    mean::Mean,
    equal_norm::EqualNorm,
    add_noise::AddNoise,
}
