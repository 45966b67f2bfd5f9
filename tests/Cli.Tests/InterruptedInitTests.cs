// SPDX-License-Identifier: Apache-2.0
using Tidemark.Lab;

namespace Tidemark.Cli.Tests;

/// <summary>Ctrl-C while a repository is made: the key file that was made for it goes, unless the repository may be there.</summary>
public sealed class InterruptedInitTests(LabFixture fixture)
{
    private const int Interrupted = 130;
    private const int NoAnswer = 0;

    [Theory]
    [InlineData(404, false)]
    [InlineData(200, true)]
    [InlineData(NoAnswer, true)]
    public async Task KeyFile_StaysOnlyWhereTheRepositoryMayBe(int later, bool stays)
    {
        var isInterrupted = false;
        using var bucket = new FakeBucket(request => request.HttpMethod switch
        {
            "HEAD" when isInterrupted => later == NoAnswer ? null : (later, ""),
            "GET" when !request.Url!.AbsolutePath.EndsWith("/config", StringComparison.Ordinal) => null, // the listing, which comes first
            _ => FakeBucket.Missing,
        });
        using var command = new CommandLine(fixture.Host);
        command.Environment["AWS_ENDPOINT_URL"] = bucket.Endpoint;
        command.Environment["AWS_ACCESS_KEY_ID"] = command.Environment["AWS_SECRET_ACCESS_KEY"] = "test";
        command.Environment["TIDEMARK_CACHE"] = Path.Combine(command.Root, "cache");
        var outcome = await command.RunAsync(
            async process =>
            {
                await bucket.Silent.WaitAsync(TimeSpan.FromMinutes(1), CommandLine.Token);
                isInterrupted = true;
                await Tool.RunAsync("sh", ["-c", $"kill -INT {process.Id}"], CommandLine.Token);
            },
            "init", "--repo", "s3://bucket/prefix");
        outcome.AssertRefused(Interrupted, "Interrupted");
        var key = command.Environment["TIDEMARK_KEY_FILE"];
        Assert.Equal(stays, File.Exists(key));
        Assert.Equal(stays, outcome.Errors.Contains($"warning: The new key file '{key}' was kept", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RefusedInit_LeavesNoKeyFile()
    {
        using var command = new CommandLine(fixture.Host);
        Directory.CreateDirectory(command.Repository);
        await File.WriteAllTextAsync(Path.Combine(command.Repository, "other"), "", CommandLine.Token);
        (await command.RunAsync("init")).AssertRefused(1, "is not empty");
        Assert.False(File.Exists(command.Environment["TIDEMARK_KEY_FILE"]));
    }
}
