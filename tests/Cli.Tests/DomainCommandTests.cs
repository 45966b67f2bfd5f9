// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>Key domains, the rate of a copy, and damaged restore points, as users type them.</summary>
public sealed class DomainCommandTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task KeyOfADomain_WorksInItAndNowhereElse()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "tenant", new LabDisk("vda", 2 * Mebi));
        await machine.WriteAsync("vda", 0, Mebi, 9, CommandLine.Token);
        var truth = await machine.ReadDiskAsync("vda", CommandLine.Token);
        var shop = Path.Combine(command.Root, "shop");
        var added = (await command.RunAsync("key", "add", "--new-key-file", shop, "--domain", "shop", "--json")).AssertDone().Json;
        Assert.Equal(("domain", "shop"), (added.GetProperty("role").GetString(), added.GetProperty("domain").GetString()));
        Assert.Contains("domain shop", (await command.RunAsync("key", "list")).AssertDone().Output, StringComparison.Ordinal);
        string[] more = ["--new-key-file", Path.Combine(command.Root, "more")];
        (await command.RunAsync(["key", "add", .. more, "--domain", "Shop/1"])).AssertRefused(2, "no name of a key domain");
        (await command.RunAsync(["key", "add", .. more, "--domain", "shop", "--role", "maintenance"])).AssertRefused(2, "no key domain");

        (await command.RunAsync("backup", "tenant", "--key-file", shop)).AssertDone();
        var shown = (await command.RunAsync("show", "tenant@latest")).AssertDone();
        Assert.Contains("key domain   shop", shown.Output, StringComparison.Ordinal);
        var own = (await command.RunAsync("show", "tenant@latest", "--json")).AssertDone().Json;
        (await command.RunAsync("backup", "tenant", "--key-file", shop, "--domain", "other")).AssertRefused(1, "key domain 'shop' only");
        (await command.RunAsync("backup", "tenant", "--domain", "no/name")).AssertRefused(2, "no name of a key domain");

        // A full key stores where it is told, else in no domain; and says so where that changes.
        var moved = (await command.RunAsync("backup", "tenant")).AssertDone();
        Assert.Contains("its last backup is of key domain 'shop', this one of no key domain", moved.Output, StringComparison.Ordinal);
        var settings = Path.Combine(command.Root, "config.yaml");
        await File.WriteAllTextAsync(settings, "machines: { tenant: { domain: shop } }", CommandLine.Token);
        (await command.RunAsync("restore", "tenant@latest", "--to", Path.Combine(command.Root, "no"), "--key-file", shop))
            .AssertRefused(1, "opens key domain 'shop' only, and this is of no key domain");
        (await command.RunAsync("backup", "tenant", "--config", settings)).AssertDone();
        var next = (await command.RunAsync("backup", "tenant", "--config", settings, "--json")).AssertDone().Json;
        Assert.Equal("incremental", next.GetProperty("points")[0].GetProperty("disks")[0].GetProperty("mode").GetString());
        foreach (var point in new[] { own.GetProperty("id").GetString()!, "tenant@latest" })
        {
            var target = Path.Combine(command.Root, $"{point[..6]}.img");
            (await command.RunAsync("restore", point, "--disk", $"vda={target}", "--format", "raw", "--key-file", shop)).AssertDone();
            Assert.Equal(truth, await File.ReadAllBytesAsync(target, CommandLine.Token));
        }

        var verified = (await command.RunAsync("verify", "--level", "data", "--key-file", shop)).AssertDone();
        Assert.Contains("Not read: 1 restore points of other key domains", verified.Output, StringComparison.Ordinal);
        (await command.RunAsync("verify", "--level", "data")).AssertDone();
        var (second, key) = (Path.Combine(command.Root, "second"), Path.Combine(command.Root, "key2"));
        (await command.RunAsync("init", "--repo", second, "--key-file", key)).AssertDone();
        var copied = (await command.RunAsync("copy", "--to", second, "--to-key-file", key, "--key-file", shop)).AssertDone();
        Assert.Contains("Copied 3 restore points", copied.Output, StringComparison.Ordinal);
        Assert.Contains("1 restore points of other key domains were left out", copied.Output, StringComparison.Ordinal);
        await machine.StopAsync(CommandLine.Token);
    }

    /// <summary>What is read here and what is written there keep to the rate, each for itself.</summary>
    [Fact]
    public async Task CopyWithALimit_TakesItsTime()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "slow", new LabDisk("vda", 4 * Mebi));
        var noise = new byte[3 * Mebi];
        new Random(17).NextBytes(noise);
        await machine.WriteBytesAsync("vda", 0, noise, CommandLine.Token);
        (await command.RunAsync("backup", "slow")).AssertDone();
        var (second, key) = (Path.Combine(command.Root, "second"), Path.Combine(command.Root, "key2"));
        (await command.RunAsync("init", "--repo", second, "--key-file", key)).AssertDone();
        (await command.RunAsync("copy", "--to", second, "--to-key-file", key, "--limit", "fast")).AssertRefused(2, "Limit 'fast'");
        var begun = Stopwatch.GetTimestamp();
        var copied = (await command.RunAsync("copy", "--to", second, "--to-key-file", key, "--limit", "1M", "--json")).AssertDone().Json;
        var took = Stopwatch.GetElapsedTime(begun);
        Assert.InRange(copied.GetProperty("storedBytes").GetInt64(), 3L * Mebi, 4L * Mebi);
        Assert.True(took > TimeSpan.FromSeconds(2.8), $"3 MiB at 1 MiB a second took {took.TotalSeconds:0.0} s.");
        await machine.StopAsync(CommandLine.Token);
    }

    [Fact]
    public async Task DamagedRestorePoint_IsGivenUpByItsName()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "spoilt", new LabDisk("vda", 2 * Mebi));
        (await command.RunAsync("backup", "spoilt")).AssertDone();
        var points = Path.Combine(command.Repository, "points");
        var folder = Assert.Single(Directory.GetDirectories(points));
        var good = Path.GetFileName(Assert.Single(Directory.GetFiles(folder)));
        var name = $"{Path.GetFileName(folder)}/{Guid.CreateVersion7():n}";
        await File.WriteAllTextAsync(Path.Combine(points, name), "junk", CommandLine.Token);
        var stopped = await command.RunAsync("gc");
        stopped.AssertRefused(5, $"points/{name}");
        Assert.Contains($"tidemark forget --damaged {name}", stopped.Errors, StringComparison.Ordinal);
        (await command.RunAsync("forget", "--damaged", "spoilt@latest")).AssertRefused(2, "not of the form MACHINE/RUN");
        (await command.RunAsync("forget", "--damaged", $"{Path.GetFileName(folder)}/{good}")).AssertRefused(2, "is not damaged");
        (await command.RunAsync("forget", "--damaged", $"points/{name}")).AssertDone();
        (await command.RunAsync("gc", "--undo-window", "0h")).AssertDone();
        Assert.False(File.Exists(Path.Combine(points, name)));
        Assert.True(File.Exists(Path.Combine(folder, good)));
        (await command.RunAsync("verify", "--level", "data")).AssertDone();
        await machine.StopAsync(CommandLine.Token);
    }
}
