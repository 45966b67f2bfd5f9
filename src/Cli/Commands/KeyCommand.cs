// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Text;
using Tidemark.Cli.Output;
using Tidemark.Engine;
using Tidemark.Engine.Repositories;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark key list|add|remove|export</c>: who can open the repository.</summary>
internal static class KeyCommand
{
    private static readonly Option<string?> NewPasswordFile = new("--new-password-file")
    {
        Description = "Add the password in the first line of this file",
    };

    private static readonly Option<string?> NewKeyFile = new("--new-key-file")
    {
        Description = "Add this key file; it is made if it does not exist",
    };

    private static readonly Option<string> Role = new("--role")
    {
        Description = "full: back up and restore; maintenance: list, forget, prune, gc, verify, but no guest data",
        DefaultValueFactory = _ => "full",
    };

    private static readonly Option<string?> Domain = new("--domain")
    {
        Description = "Guest data of this key domain only: its backups are read and written, and no others",
    };

    private static readonly Option<string> Label = new("--label")
    {
        Description = "A word for people: whose key it is",
        DefaultValueFactory = _ => "",
    };

    private static readonly Option<string?> To = new("--to") { Description = "Write to this new file, readable by its owner only" };

    private static readonly Argument<string> Slot = new("SLOT") { Description = "As 'key list' shows it" };

    public static Command Create()
    {
        Role.AcceptOnlyFromAmong("full", "maintenance");
        var list = new Command("list", "The keys that open the repository");
        list.SetAction(ListAsync);
        var add = new Command("add", "One more key") { NewPasswordFile, NewKeyFile, Role, Domain, Label };
        add.SetAction(AddAsync);
        var remove = new Command("remove", "Remove a key; needs the right to delete in the store") { Slot };
        remove.SetAction(RemoveAsync);
        var export = new Command("export", "The recovery sheet: a line of text that opens the repository, for paper") { To };
        export.SetAction(ExportAsync);
        return new Command("key", "Who can open the repository") { list, add, remove, export };
    }

    private static async Task<int> ListAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var keys = await repository.KeysAsync(cancellationToken);
        result.Output().Result(new KeysDocument(keys), CliJson.Default.KeysDocument, Table);
        return ExitCode.Done;
    }

    private static async Task<int> AddAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var (password, keyFile) = (result.GetValue(NewPasswordFile), result.GetValue(NewKeyFile));
        if (password is null == keyFile is null)
            throw EngineException.Usage("A new key is one password or one key file.", "--new-password-file FILE or --new-key-file FILE");
        await using var repository = await result.OpenRepositoryAsync(settings, cancellationToken);
        var access = new RepositoryAccess(password is null ? null : GlobalOptions.ReadPassword(password), keyFile);
        var (role, domain) = (result.GetValue(Role)!, result.GetValue(Domain));
        if (domain is not null && role == "maintenance")
            throw EngineException.Usage("A key of role maintenance opens no key domain.", "--role maintenance or --domain NAME");
        var added = new NewKeyRequest(access, role == "maintenance", domain, result.GetValue(Label)!);
        var slot = await repository.AddKeyAsync(result.Access(settings), added, cancellationToken);
        result.Output().Result(
            new KeyAddedDocument(slot, domain is null ? role : "domain", keyFile, domain),
            CliJson.Default.KeyAddedDocument,
            made => $"Key slot {made.Slot}, role {made.Role}{(made.Domain is null ? "" : $" '{made.Domain}'")}.");
        return ExitCode.Done;
    }

    private static async Task<int> RemoveAsync(ParseResult result, CancellationToken cancellationToken)
    {
        await using var repository = await result.OpenRepositoryAsync(result.Settings(), cancellationToken);
        var slot = result.GetValue(Slot)!;
        await repository.RemoveKeyAsync(slot, cancellationToken);
        result.Output().Result(new KeyRemovedDocument(slot), CliJson.Default.KeyRemovedDocument, removed =>
            $"Key slot {removed.Removed} is gone.\nWhoever copied that slot before, or the key it gave, still reads what the repository "
            + "holds; keep such a person from the store itself.");
        return ExitCode.Done;
    }

    private static async Task<int> ExportAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        await using var repository = await result.OpenRepositoryAsync(settings, cancellationToken);
        var sheet = await repository.ExportKeyAsync(result.Access(settings), cancellationToken);
        var file = result.GetValue(To);
        if (file is not null)
            await WriteAsync(file, sheet, cancellationToken);
        result.Output().Result(
            new KeyExportDocument(file is null ? sheet : null, file), CliJson.Default.KeyExportDocument,
            made => made.Sheet ?? $"The recovery sheet is in {made.File}: print it, put the paper away, and remove the file.");
        return ExitCode.Done;
    }

    private static async Task WriteAsync(string file, string sheet, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = new FileStream(file, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
            await stream.WriteAsync(Encoding.UTF8.GetBytes(sheet), cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Failed($"The recovery sheet cannot be written to '{file}': {e.Message}", inner: e);
        }
    }

    private static string Table(KeysDocument document)
    {
        if (document.Keys.Count == 0)
            return "The repository has no key slots.";
        var table = new TextTable("SLOT", "ROLE", "CREATED (UTC)", "OPENED BY", "LABEL");
        foreach (var key in document.Keys)
            table.Add(key.Slot, key.Domain is null ? key.Role : $"{key.Role} {key.Domain}", Sizes.Time(key.Created), key.Kind, key.Label);
        return table.ToString();
    }
}
