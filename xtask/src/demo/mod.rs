use crate::cli::DemoOptions;
use crate::workspace::Workspace;
pub(crate) fn run(_: &Workspace, _: &DemoOptions) -> anyhow::Result<()> {
    anyhow::bail!("x")
}
