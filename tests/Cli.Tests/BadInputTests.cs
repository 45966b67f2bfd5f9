// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;
using Tidemark.TestKit;

namespace Tidemark.Cli.Tests;

/// <summary>Bad input gets one clear error and a documented exit code, and nothing is lost or half-written.</summary>
public sealed class BadInputTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task NoRepository_IsSaid()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("list")).AssertRefused(1, "There is no repository");
        Directory.CreateDirectory(command.Repository);
        (await command.RunAsync("list")).AssertRefused(1, "There is no repository");
        command.Environment.Remove("TIDEMARK_REPO");
        (await command.RunAsync("list")).AssertRefused(2, "No repository is named");
    }

    [Fact]
    public async Task WrongKey_IsSaid()
    {
        using var command = new CommandLine(fixture.Host);
        var password = Path.Combine(command.Root, "password");
        await File.WriteAllTextAsync(password, "correct horse\n", CommandLine.Token);
        (await command.RunAsync("init", "--password-file", password)).AssertDone();
        (await command.RunAsync("list", "--password-file", password)).AssertDone();
        await File.WriteAllTextAsync(password, "wrong horse\n", CommandLine.Token);
        (await command.RunAsync("list", "--password-file", password)).AssertRefused(1, "opens none of the 1 key slots");
        command.Environment.Remove("TIDEMARK_KEY_FILE");
        (await command.RunAsync("list")).AssertRefused(1, "encrypted");
        (await command.RunAsync("list", "--key-file", "/nonexistent")).AssertRefused(2, "cannot be read");
    }

    [Fact]
    public async Task InitOverSomething_ChangesNothing()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var config = await File.ReadAllTextAsync(Path.Combine(command.Repository, "config"), CommandLine.Token);
        var key = await File.ReadAllTextAsync(command.Environment["TIDEMARK_KEY_FILE"], CommandLine.Token);
        (await command.RunAsync("init")).AssertRefused(1, "already");
        Assert.Equal(config, await File.ReadAllTextAsync(Path.Combine(command.Repository, "config"), CommandLine.Token));
        Assert.Equal(key, await File.ReadAllTextAsync(command.Environment["TIDEMARK_KEY_FILE"], CommandLine.Token));
        command.Environment.Remove("TIDEMARK_KEY_FILE");
        (await command.RunAsync("init", "--repo", Path.Combine(command.Root, "other"))).AssertRefused(2, "needs a password or a key file");
        Assert.False(Directory.Exists(Path.Combine(command.Root, "other", "keys")));
    }

    [Fact]
    public async Task NewerFormat_IsRefused()
    {
        using var command = new CommandLine(fixture.Host);
        command.Environment.Remove("TIDEMARK_KEY_FILE");
        (await command.RunAsync("init", "--no-encryption")).AssertDone();
        var config = Path.Combine(command.Repository, "config");
        var text = await File.ReadAllTextAsync(config, CommandLine.Token);
        File.Delete(config);
        await File.WriteAllTextAsync(config, text.Replace("\"format\":1", "\"format\":2", StringComparison.Ordinal), CommandLine.Token);
        (await command.RunAsync("list")).AssertRefused(1, "format 2");
    }

    [Fact]
    public async Task UnknownMachines_AreSaid_AndOneThatIsOffIsBackedUp()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        (await command.RunAsync("backup", "nobody-knows-it")).AssertRefused(2, "no machine 'nobody-knows-it'");
        (await command.RunAsync("backup", "../x")).AssertRefused(2, "no machine '../x'");
        (await command.RunAsync("backup")).AssertRefused(2, "Name the machines");
        var machine = await LabMachine.DefineAsync(fixture.Host, "cli-off", new LabDisk("vda", Mebi));
        await machine.StopAsync(CommandLine.Token);
        (await command.RunAsync("backup", "cli-off", "--quiesce", "require", "--strict")).AssertDone();
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(command.Root, "state", "runs")));
        var list = await command.RunAsync("list");
        list.AssertDone();
        Assert.Contains("offline", list.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("backup", "x", "--chunk-size", "3K")]
    [InlineData("backup", "x", "--quiesce", "maybe")]
    [InlineData("backup", "x", "--tag", "novalue")]
    [InlineData("restore")]
    [InlineData("nonsense")]
    [InlineData("list", "--repo", "ftp://somewhere")]
    [InlineData("machines", "--connect", "qemu+ssh://elsewhere/system")]
    [InlineData("list", "--config", "/nonexistent.yaml")]
    public async Task BadUsage_IsExitCodeTwo(params string[] arguments)
    {
        using var command = new CommandLine(fixture.Host);
        if (arguments is ["backup", ..])
        {
            (await command.RunAsync("init")).AssertDone();
            await LabMachine.DefineAsync(fixture.Host, $"u{Guid.NewGuid().ToString("n")[..6]}", new LabDisk("vda", Mebi));
            arguments[1] = (await fixture.Host.Connection.ListDomainsAsync(CommandLine.Token))[0].Name;
        }

        var outcome = await command.RunAsync(arguments);
        Assert.True(outcome.ExitCode == 2, $"Exit code {outcome.ExitCode}: {outcome.Errors}");
        Assert.StartsWith("error: ", outcome.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task BadSettings_NameTheLine()
    {
        using var command = new CommandLine(fixture.Host);
        var file = Path.Combine(command.Root, "config.yaml");
        await File.WriteAllTextAsync(file, "repository: /x\nrepositry: /y\n", CommandLine.Token);
        (await command.RunAsync("list", "--config", file)).AssertRefused(2, "wrong in line 2");
    }

    [Fact]
    public async Task EveryKindOfDamage_IsFoundNamedAndNeverRestored()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "cli-damage", new LabDisk("vda", 4 * Mebi));
        var noise = new byte[2 * Mebi];
        new Random(3).NextBytes(noise);
        await machine.WriteBytesAsync("vda", 0, noise, CommandLine.Token);
        (await command.RunAsync("backup", "cli-damage")).AssertDone();
        (await command.RunAsync("verify", "--level", "data")).AssertDone();
        var target = Path.Combine(command.Root, "out.img");
        var checkedKinds = 0;
        foreach (var file in Directory.EnumerateFiles(command.Repository, "*", SearchOption.AllDirectories).Order())
        {
            var key = Path.GetRelativePath(command.Repository, file);
            if (key.Split('/')[0] is not ("packs" or "index" or "points"))
                continue;
            checkedKinds++;
            var sound = await File.ReadAllBytesAsync(file, CommandLine.Token);
            foreach (var damage in (byte[][])[[.. sound[..^7]], Flipped(sound)])
            {
                await File.WriteAllBytesAsync(file, damage, CommandLine.Token);
                var found = await command.RunAsync("verify", "--level", "data", "--json");
                Assert.Equal(5, found.ExitCode);
                Assert.False(found.Json.GetProperty("ok").GetBoolean());
                var name = Path.GetFileName(key);
                Assert.Contains(
                    found.Json.GetProperty("damaged").EnumerateArray(),
                    item => item.GetProperty("object").GetString()!.EndsWith(name, StringComparison.Ordinal));
                var restored = await command.RunAsync("restore", "cli-damage@latest", "--disk", $"vda={target}", "--format", "raw");
                if (restored.ExitCode == 0)
                    Assert.Equal(noise, (await File.ReadAllBytesAsync(target, CommandLine.Token))[..noise.Length]);
                else
                    Assert.False(File.Exists(target));
                if (key.StartsWith("packs/", StringComparison.Ordinal) && damage.Length == sound.Length && restored.ExitCode != 0)
                    Assert.Equal(5, restored.ExitCode);
                File.Delete(target);
            }

            await File.WriteAllBytesAsync(file, sound, CommandLine.Token);
        }

        // A pack of chunks, one of nodes, an index segment and the point.
        Assert.Equal(4, checkedKinds);
        (await command.RunAsync("verify", "--level", "data")).AssertDone();
        await machine.StopAsync(CommandLine.Token);

        static byte[] Flipped(byte[] sound)
        {
            var damaged = sound.ToArray();
            damaged[damaged.Length / 3] ^= 0x10;
            return damaged;
        }
    }

    [Fact]
    public async Task TargetThatCannotBeWrittenOrIsFull_LeavesNothingBehind()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "cli-full", new LabDisk("vda", 4 * Mebi));
        await machine.WriteAsync("vda", 0, 4 * Mebi, 7, CommandLine.Token);
        (await command.RunAsync("backup", "cli-full")).AssertDone();
        await machine.StopAsync(CommandLine.Token);
        (await command.RunAsync("restore", "cli-full@latest", "--disk", "vda=/dev/full/x")).AssertRefused(1, "cannot be created");
        await using var full = await SmallFolder.TryMountAsync(Path.Combine(command.Root, "full"), 1);
        Assert.SkipWhen(full is null, "a small file system cannot be mounted here: it needs root");
        foreach (var format in (string[])["raw", "qcow2"])
        {
            var outcome = await command.RunAsync("restore", "cli-full@latest", "--to", full!.Path, "--format", format);
            outcome.AssertRefused(1, "No space left");
            Assert.Empty(Directory.EnumerateFileSystemEntries(full.Path));
        }
    }

    [Fact]
    public async Task FullRepository_EndsTheRun_WhatWasThereStaysSound_AndGcMakesRoom()
    {
        using var command = new CommandLine(fixture.Host);
        await using var full = await SmallFolder.TryMountAsync(Path.Combine(command.Root, "small"), 4);
        Assert.SkipWhen(full is null, "a small file system cannot be mounted here: it needs root");
        command.Environment["TIDEMARK_REPO"] = full!.Path;
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "cli-norepo", new LabDisk("vda", 16 * Mebi));
        var noise = new byte[Mebi];
        for (var seed = 1; seed <= 3; seed++)
        {
            new Random(seed).NextBytes(noise);
            await machine.WriteBytesAsync("vda", 0, noise, CommandLine.Token);
            (await command.RunAsync("backup", "cli-norepo")).AssertDone();
        }

        new Random(4).NextBytes(noise);
        await machine.WriteBytesAsync("vda", 0, noise, CommandLine.Token);
        var refused = await command.RunAsync("backup", "cli-norepo");
        refused.AssertRefused(1, $"Folder '{full.Path}' is full");
        Assert.Contains("hint: tidemark prune, then tidemark gc", refused.Errors, StringComparison.Ordinal);
        Assert.Equal(3, (await command.RunAsync("list", "--json")).AssertDone().Json.GetProperty("points").GetArrayLength());
        (await command.RunAsync("verify", "--level", "data")).AssertDone();
        Assert.Single(await machine.Domain.ListCheckpointsAsync(CommandLine.Token));

        full.Fill(Room.Bytes); // someone else takes what backups left
        (await command.RunAsync("prune", "--keep-last", "1")).AssertDone();
        var gc = (string[])["gc", "--undo-window", "0h", "--max-delete", "100"];
        (await command.RunAsync(gc)).AssertRefused(1, "gc writes about 1 MiB before it deletes anything");
        full.Release();
        (await command.RunAsync(gc)).AssertDone();
        (await command.RunAsync("backup", "cli-norepo")).AssertDone();
        (await command.RunAsync("verify", "--level", "data")).AssertDone();
        var target = Path.Combine(command.Root, "out.img");
        (await command.RunAsync("restore", "cli-norepo@latest", "--disk", $"vda={target}", "--format", "raw")).AssertDone();
        Assert.Equal(noise, (await File.ReadAllBytesAsync(target, CommandLine.Token))[..noise.Length]);
        await machine.StopAsync(CommandLine.Token);
    }
}
