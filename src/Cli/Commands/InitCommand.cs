// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Repositories;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark init</c>: a new repository.</summary>
internal static class InitCommand
{
    private static readonly Option<bool> NoEncryption = new("--no-encryption")
    {
        Description = "Store everything in the clear; said in the repository for all to see",
    };

    private static readonly Option<bool> AllowSingleWriter = new("--allow-single-writer")
    {
        Description = "Take a bucket without atomic create: then only this host may ever write to it",
    };

    public static Command Create()
    {
        var command = new Command("init", "New repository; encrypted unless --no-encryption") { NoEncryption, AllowSingleWriter };
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var url = result.RepositoryUrl(settings);
        var access = result.Access(settings);
        var open = result.GetValue(NoEncryption);
        if (open && (access.Password is not null || access.KeyFile is not null))
            throw EngineException.Usage("A key is given together with --no-encryption.", "leave one of them out");
        if (!open && access.Password is null && access.KeyFile is null)
        {
            throw EngineException.Usage(
                "An encrypted repository needs a password or a key file.",
                "--key-file FILE (made if it does not exist), --password-file FILE, or --no-encryption");
        }

        var made = access.KeyFile is { } file && !File.Exists(file) ? file : null;
        NewRepository repository;
        try
        {
            repository = await RepositorySession.InitAsync(
                url, open ? null : access, result.GetValue(AllowSingleWriter), cancellationToken);
        }
        catch when (made is not null && File.Exists(made))
        {
            UserOutput.Warning($"The new key file '{made}' was kept: a repository that it opens may be in '{url}'; `tidemark list` tells.");
            throw;
        }

        result.Output().Result(
            new InitDocument(url, repository.Id.ToString("n"), !open, access.KeyFile, repository.SingleWriter),
            CliJson.Default.InitDocument,
            document => Describe(document, made is not null));
        return ExitCode.Done;
    }

    private static string Describe(InitDocument made, bool newKeyFile)
    {
        var text = $"Repository {made.Id[..8]} is ready in {made.Repository}.";
        if (made.SingleWriter)
        {
            text += "\nIts store has no atomic create. Two hosts that write at once could destroy each other's restore points,\n"
                + "so only this host may write here, and space is never given back.";
        }

        if (!made.Encrypted)
            return text + "\nIt is NOT encrypted: whoever can read it can read every disk.";
        var key = made.KeyFile is null
            ? "Keep the password safe, in a place that does not burn with this host"
            : $"{(newKeyFile ? "A new key was written to" : "It opens with the key in")} {made.KeyFile}.\n"
                + "Keep a copy of it in a place that does not burn with this host";
        return $"{text}\n{key}: without it nothing can be restored, by anyone.";
    }
}
