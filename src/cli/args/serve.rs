//! `midlayer serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::{ModelArgs, OutsideArgs};
use crate::runtime::CacheType;

#[derive(Args, Clone)]
#[command(mut_arg("model", |arg| arg.required_unless_present("runs")))]
pub struct ServeArgs {
    /// Folder of stored runs to look at, or a run's own folder; with it a model need not be given
    pub runs: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Types of the K/V cache to compare, both alike: f16,q8_0,q4_0 [default: that of -ctk and -ctv]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', conflicts_with_all = ["cache_type_k", "cache_type_v"])]
    pub cache_type: Vec<CacheType>,
    #[command(flatten)]
    pub outside: OutsideArgs,
    /// Address to listen on. Any but 127.0.0.1 and ::1 lets others connect, and then demands the
    /// token that the printed address holds
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port, 0 for any that is free [default: 7630, or any free one where that is taken]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Do not open the browser
    #[arg(long)]
    pub no_open: bool,
}
