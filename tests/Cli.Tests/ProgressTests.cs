// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>What is told while verify reads, and while restore reads back what it wrote.</summary>
public sealed class ProgressTests(LabFixture fixture)
{
    private const int Mebi = 1 << 20;

    [Fact]
    public async Task VerifyAndTheProofOfARestore_TellHowFarTheyAre()
    {
        using var command = new CommandLine(fixture.Host);
        (await command.RunAsync("init")).AssertDone();
        var machine = await LabMachine.DefineAsync(fixture.Host, "watched", new LabDisk("vda", 8 * Mebi));
        var noise = new byte[2 * Mebi];
        new Random(5).NextBytes(noise);
        await machine.WriteBytesAsync("vda", 0, noise, CommandLine.Token);
        (await command.RunAsync("backup", "watched")).AssertDone();
        await machine.StopAsync(CommandLine.Token);

        foreach (var level in (string[])["packs", "data"])
        {
            var read = Lines(await command.RunAsync("verify", "--level", level, "--progress", "json")).Last();
            Assert.True(read.GetProperty("done").GetInt64() >= noise.Length, $"{level}: {read}");
            Assert.Equal(JsonValueKind.Null, read.GetProperty("total").ValueKind);
            Assert.False(read.TryGetProperty("disk", out _), $"{level}: {read}");
        }

        var plain = await command.RunAsync("verify", "--level", "data", "--progress", "plain");
        Assert.Contains("read: ", plain.AssertDone().Errors, StringComparison.Ordinal);
        Assert.Empty(Lines(await command.RunAsync("verify", "--level", "data")));

        var restored = Lines(await command.RunAsync(
            "restore", "watched@latest", "--to", Path.Combine(command.Root, "out"), "--format", "raw", "--progress", "json"));
        foreach (var disk in (string[])["vda", "vda proof"])
        {
            var last = restored.Last(line => line.GetProperty("disk").GetString() == disk);
            Assert.Equal(8 * Mebi, last.GetProperty("done").GetInt64());
            Assert.Equal(8 * Mebi, last.GetProperty("total").GetInt64());
        }
    }

    private static List<JsonElement> Lines(Outcome outcome) =>
        outcome.AssertDone().Errors.Split('\n').Where(line => line.StartsWith('{'))
            .Select(line => JsonDocument.Parse(line).RootElement).ToList();
}
