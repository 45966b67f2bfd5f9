// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Runs;

/// <summary>
/// Where this host keeps what runs need: journal entries, locks and checkpoint records in the state folder, and one folder a run
/// (socket, scratch files) in the scratch folder, which the hypervisor's user must be able to reach.
/// </summary>
public sealed record HostFolders(string State, string Scratch)
{
    public string Journal => Path.Combine(State, "runs");

    /// <summary>One file a machine with its checkpoint records.</summary>
    public string Checkpoints => Path.Combine(State, "checkpoints");

    public string Locks => Path.Combine(State, "locks");

    /// <summary>
    /// <c>TIDEMARK_STATE</c> and <c>TIDEMARK_SCRATCH</c> win; root uses /var/lib/tidemark, others their XDG state folder.
    /// </summary>
    public static HostFolders Default(string? scratch = null)
    {
        var state = Environment.GetEnvironmentVariable("TIDEMARK_STATE") ?? DefaultState();
        scratch ??= Environment.GetEnvironmentVariable("TIDEMARK_SCRATCH");
        return new HostFolders(Path.GetFullPath(state), Path.GetFullPath(scratch ?? Path.Combine(state, "scratch")));
    }

    private static string DefaultState()
    {
        if (Environment.IsPrivilegedProcess)
            return "/var/lib/tidemark";
        var xdg = Environment.GetEnvironmentVariable("XDG_STATE_HOME");
        return Path.Combine(
            string.IsNullOrEmpty(xdg)
                ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local", "state")
                : xdg,
            "tidemark");
    }
}
