// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Runs;
using Tidemark.Lab;

namespace Tidemark.Storm.Tests;

/// <summary>A host with what Tidemark keeps on it.</summary>
internal sealed record StormHost(string Name, LabHost Lab, HostFolders Folders)
{
    public static async Task<StormHost> StartAsync(string name, string folder, CancellationToken cancellationToken)
    {
        var lab = await LabHost.StartAsync(cancellationToken);
        return new StormHost(name, lab, new HostFolders(Path.Combine(folder, "state"), lab.CreateFolder("scratch")));
    }
}
