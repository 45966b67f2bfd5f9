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
    /// <param name="environment">Looks a variable up; an empty one counts as not set.</param>
    /// <param name="scratch">The scratch folder that the settings name; null or empty for none.</param>
    public static HostFolders Default(Func<string, string?> environment, string? scratch = null)
    {
        var state = First(environment("TIDEMARK_STATE")) ?? DefaultState(environment);
        return new HostFolders(
            Path.GetFullPath(state),
            Path.GetFullPath(First(environment("TIDEMARK_SCRATCH"), scratch) ?? Path.Combine(state, "scratch")));
    }

    private static string DefaultState(Func<string, string?> environment)
    {
        if (Environment.IsPrivilegedProcess)
            return "/var/lib/tidemark";
        var folder = First(environment("XDG_STATE_HOME"))
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local", "state");
        return Path.Combine(folder, "tidemark");
    }

    private static string? First(params string?[] values) => values.FirstOrDefault(value => !string.IsNullOrEmpty(value));
}
