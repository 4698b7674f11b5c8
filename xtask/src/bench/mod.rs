use crate::cli::BenchOptions;
use crate::workspace::Workspace;
pub(crate) fn run(_: &Workspace, _: &BenchOptions) -> anyhow::Result<()> {
    anyhow::bail!("x")
}
