// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.Lab.Guests;
using Tidemark.Libvirt;
using Tidemark.Qemu;

namespace Tidemark.Demo;

/// <summary>Where the tour happens: a private libvirt and a folder. Disposing it ends every machine and removes both.</summary>
internal sealed class Stage : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tidemark-demo-").FullName;

    private Stage(LabHost host)
    {
        Host = host;
        State = Path.Combine(_folder, "state");
        Scratch = host.CreateFolder("s");
        Restored = host.CreateFolder("restored");
    }

    public LabHost Host { get; }

    /// <summary>Where the command line keeps its journal.</summary>
    public string State { get; }

    /// <summary>Where it keeps sockets and scratch files during a backup.</summary>
    public string Scratch { get; }

    /// <summary>For the new machine; QEMU's user may use what lies there.</summary>
    public string Restored { get; }

    /// <summary>For images that are only looked at.</summary>
    public string Looked => Path.Combine(_folder, "looked-at");

    /// <summary>What the command line finds in its environment.</summary>
    public IReadOnlyDictionary<string, string> Settings => new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["TIDEMARK_REPO"] = Path.Combine(_folder, "repository"),
        ["TIDEMARK_KEY_FILE"] = Path.Combine(_folder, "key"),
        ["TIDEMARK_CONNECT"] = Host.Uri,
        ["TIDEMARK_STATE"] = State,
        ["TIDEMARK_SCRATCH"] = Scratch,
    };

    public static async Task<Stage> OpenAsync(CancellationToken cancellationToken)
    {
        var host = await LabHost.StartAsync(cancellationToken);
        try
        {
            return new Stage(host);
        }
        catch
        {
            await host.DisposeAsync();
            throw;
        }
    }

    /// <summary>Defines and starts a guest with one empty disk; it boots by itself from there.</summary>
    public async Task<Domain> StartGuestAsync(GuestImage image, string name, long diskBytes, CancellationToken cancellationToken)
    {
        var disk = new GuestDisk(Path.Combine(Host.Folder, $"{name}.qcow2"), "qcow2");
        await QemuImg.CreateAsync(ImageRef.File(disk.Path, disk.Format), diskBytes, cancellationToken);
        Host.GiveToQemu(disk.Path);
        var definition = new GuestDefinition
        {
            Name = name,
            Image = image,
            Disks = [disk],
            Mode = GuestMode.Idle,
            LargeFiles = 6,
            // No console file: a restored definition may name no file of this computer but those the restore wrote.
            ConsoleLog = null,
        };
        var domain = await Host.Connection.DefineDomainAsync(definition.DomainXml(), validate: true, cancellationToken);
        await domain.StartAsync(cancellationToken: cancellationToken);
        return domain;
    }

    public async ValueTask DisposeAsync()
    {
        await Host.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
