// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;

namespace Tidemark.Cli.Tests;

/// <summary>Region, endpoint and keys from the AWS SDK's shared files; a broken one does no harm to who sets the environment.</summary>
public sealed class S3ProfileTests(LabFixture fixture) : IDisposable
{
    private readonly ConcurrentQueue<string> _signatures = new();
    private FakeBucket? _bucket;

    [Theory]
    [InlineData(null, "default")]
    [InlineData("site", "profile site")]
    public async Task ProfileAlone_IsEnough(string? name, string section)
    {
        using var command = Command();
        command.Environment["AWS_PROFILE"] = name ?? "";
        await File.WriteAllTextAsync(
            command.Environment["AWS_CONFIG_FILE"],
            $"[profile other]\nregion = eu-other\n[{section}]\nregion = eu-file\nendpoint_url = {_bucket!.Endpoint}\n",
            CommandLine.Token);
        await File.WriteAllTextAsync(
            command.Environment["AWS_SHARED_CREDENTIALS_FILE"],
            $"[{name ?? "default"}]\naws_access_key_id = FILEKEY\naws_secret_access_key = secret\n",
            CommandLine.Token);
        await AssertAskedAsync(command, "Credential=FILEKEY/", "/eu-file/s3/");
    }

    [Theory]
    [InlineData("no profile at all\n[default\n= x\n")]
    [InlineData("[default]\nregion = eu-file\nsso_session = nowhere\n")]
    public async Task BrokenFile_DoesNoHarm_WhereTheEnvironmentHasTheKeys_AndIsNamedElsewhere(string content)
    {
        using var command = Command();
        var folder = Directory.CreateDirectory(Path.Combine(command.Root, ".aws")).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "config"), content, CommandLine.Token);
        command.Environment["HOME"] = command.Root;
        command.Environment["AWS_CONFIG_FILE"] = command.Environment["AWS_SHARED_CREDENTIALS_FILE"] = "";
        command.Environment["AWS_ENDPOINT_URL"] = _bucket!.Endpoint;
        command.Environment["AWS_ACCESS_KEY_ID"] = "ENVIRONMENTKEY";
        command.Environment["AWS_SECRET_ACCESS_KEY"] = "secret";
        await AssertAskedAsync(command, "Credential=ENVIRONMENTKEY/", "/us-east-1/s3/");
        command.Environment["AWS_REGION"] = "eu-environment";
        await AssertAskedAsync(command, "Credential=ENVIRONMENTKEY/", "/eu-environment/s3/");
        command.Environment["AWS_ACCESS_KEY_ID"] = "";
        (await command.RunAsync("list")).AssertRefused(1, "AWS profile 'default' can't be read: ");
    }

    public void Dispose() => _bucket?.Dispose();

    private CommandLine Command()
    {
        _bucket = new FakeBucket(request =>
        {
            _signatures.Enqueue(request.Headers["Authorization"] ?? "");
            return FakeBucket.Missing;
        });
        var command = new CommandLine(fixture.Host);
        command.Environment["TIDEMARK_REPO"] = "s3://bucket/prefix";
        command.Environment["TIDEMARK_CACHE"] = Path.Combine(command.Root, "cache");
        command.Environment["AWS_CONFIG_FILE"] = Path.Combine(command.Root, "config");
        command.Environment["AWS_SHARED_CREDENTIALS_FILE"] = Path.Combine(command.Root, "credentials");
        return command;
    }

    private async Task AssertAskedAsync(CommandLine command, params string[] parts)
    {
        _signatures.Clear();
        (await command.RunAsync("list")).AssertRefused(1, "There is no repository");
        Assert.All(parts, part => Assert.Contains(part, Assert.Single(_signatures), StringComparison.Ordinal));
    }
}
