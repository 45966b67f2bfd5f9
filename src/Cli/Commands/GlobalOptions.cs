// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli.Output;
using Tidemark.Cli.Settings;
using Tidemark.Engine;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;

namespace Tidemark.Cli.Commands;

/// <summary>Options that every command takes, and what they open.</summary>
internal static class GlobalOptions
{
    public static readonly Option<string?> Repository = new("--repo")
    {
        Description = "Repository: a folder, or s3://BUCKET[/PREFIX] (TIDEMARK_REPO)",
        Recursive = true,
    };

    public static readonly Option<string?> Connect = new("--connect", "-c")
    {
        Description = "libvirt URI (TIDEMARK_CONNECT, then LIBVIRT_DEFAULT_URI)",
        Recursive = true,
    };

    public static readonly Option<string?> PasswordFile = new("--password-file")
    {
        Description = "File with the password (TIDEMARK_PASSWORD_FILE, or TIDEMARK_PASSWORD itself)",
        Recursive = true,
    };

    public static readonly Option<string?> KeyFile = new("--key-file")
    {
        Description = "Key file (TIDEMARK_KEY_FILE)",
        Recursive = true,
    };

    public static readonly Option<string?> Config = new("--config")
    {
        Description = "Settings file (/etc/tidemark/config.yaml)",
        Recursive = true,
    };

    public static readonly Option<bool> Json = new("--json")
    {
        Description = "One JSON document on standard output, at the end",
        Recursive = true,
    };

    public static readonly Option<string> Progress = new("--progress")
    {
        Description = "auto, plain, json or none; on standard error",
        DefaultValueFactory = _ => "auto",
        Recursive = true,
    };

    public static readonly Option<bool> Quiet = new("--quiet", "-q") { Description = "Only errors and warnings", Recursive = true };

    public static readonly Option<bool> Verbose = new("--verbose", "-v")
    {
        Description = "More; -v -v shows where an error came from",
        Recursive = true,
        AllowMultipleArgumentsPerToken = false,
        Arity = ArgumentArity.Zero,
    };

    /// <summary>For the commands that move much data.</summary>
    public static readonly Option<string?> Limit = new("--limit")
    {
        Description = "Most bytes a second to and from the repository, such as 20M",
    };

    public static void AddTo(RootCommand root)
    {
        Progress.AcceptOnlyFromAmong("auto", "plain", "json", "none");
        foreach (var option in (Option[])[Repository, Connect, PasswordFile, KeyFile, Config, Json, Progress, Quiet, Verbose])
            root.Options.Add(option);
    }

    public static SettingsFile Settings(this ParseResult result) => SettingsFile.Load(result.GetValue(Config));

    /// <summary>Messages of a command to its user.</summary>
    public static UserOutput Output(this ParseResult result) =>
        new(
            result.GetValue(Json), result.GetValue(Quiet), result.GetResult(Verbose) is { Implicit: false }, result.GetValue(Progress)!);

    /// <exception cref="EngineException">No repository is named.</exception>
    public static string RepositoryUrl(this ParseResult result, SettingsFile settings) =>
        NamedRepository(result, settings)
        ?? throw EngineException.Usage("No repository is named.", "give --repo FOLDER or --repo s3://BUCKET, or set TIDEMARK_REPO");

    public static RepositoryAccess Access(this ParseResult result, SettingsFile settings)
    {
        var passwordFile = result.GetValue(PasswordFile);
        var keyFile = result.GetValue(KeyFile);
        if (passwordFile is null && keyFile is null)
        {
            if (First(Environment.GetEnvironmentVariable("TIDEMARK_PASSWORD")) is { } password)
                return new RepositoryAccess(password, null);
            passwordFile = First(Environment.GetEnvironmentVariable("TIDEMARK_PASSWORD_FILE"));
            keyFile = First(Environment.GetEnvironmentVariable("TIDEMARK_KEY_FILE"));
        }

        if (passwordFile is null && keyFile is null)
            (passwordFile, keyFile) = (settings.PasswordFile, settings.KeyFile);
        return new RepositoryAccess(passwordFile is null ? null : ReadPassword(passwordFile), keyFile);
    }

    public static Task<RepositorySession> OpenRepositoryAsync(
        this ParseResult result, SettingsFile settings, CancellationToken cancellationToken) =>
        RepositorySession.OpenAsync(
            result.RepositoryUrl(settings),
            result.Access(settings),
            result.Choices(),
            cancellationToken);

    /// <summary>How a command wants its repositories' stores used.</summary>
    public static StoreChoices Choices(this ParseResult result) => new() { BytesPerSecond = ReadRate(result.GetValue(Limit)) };

    /// <summary>The restore points that can be read; the others are named on standard error: they are not absent.</summary>
    public static async Task<IReadOnlyList<PointInfo>> ReadablePointsAsync(
        this RepositorySession repository, CancellationToken cancellationToken)
    {
        var list = await repository.PointsAsync(cancellationToken);
        foreach (var problem in list.Damaged.Concat(list.Unread))
            UserOutput.Warning(problem);
        return list.Points;
    }

    public static Task<IHypervisor> ConnectHypervisorAsync(
        this ParseResult result, SettingsFile settings, CancellationToken cancellationToken) =>
        Hypervisors.ConnectAsync(result.ConnectUri(settings), cancellationToken);

    /// <summary>The hypervisor that was named; null for libvirt's default.</summary>
    public static string? ConnectUri(this ParseResult result, SettingsFile settings) =>
        First(result.GetValue(Connect), Environment.GetEnvironmentVariable("TIDEMARK_CONNECT"), settings.Connect);

    public static HostFolders Folders(SettingsFile settings) => HostFolders.Default(Environment.GetEnvironmentVariable, settings.Scratch);

    private static long? ReadRate(string? text)
    {
        if (text is null)
            return null;
        return Sizes.TryParse(text.EndsWith("/s", StringComparison.Ordinal) ? text[..^2] : text, out var bytes) && bytes > 0
            ? bytes
            : throw EngineException.Usage($"Limit '{text}' is not a number of bytes a second, such as 20M.");
    }

    /// <summary>The user, the environment or the settings name a repository.</summary>
    public static bool NamesRepository(this ParseResult result, SettingsFile settings) => NamedRepository(result, settings) is not null;

    private static string? NamedRepository(ParseResult result, SettingsFile settings) =>
        First(result.GetValue(Repository), Environment.GetEnvironmentVariable("TIDEMARK_REPO"), settings.Repository);

    private static string? First(params string?[] values) => values.FirstOrDefault(value => !string.IsNullOrEmpty(value));

    /// <summary>The first line of a password file.</summary>
    public static string ReadPassword(string file)
    {
        try
        {
            var password = File.ReadLines(file).FirstOrDefault() ?? "";
            return password.Length > 0
                ? password
                : throw EngineException.Usage($"Password file '{file}' has an empty first line.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Usage($"Password file '{file}' cannot be read: {e.Message}");
        }
    }
}
