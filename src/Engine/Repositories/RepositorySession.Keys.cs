// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Engine.Repositories;

public sealed partial class RepositorySession
{
    /// <summary>Who can open the repository, oldest first.</summary>
    public async Task<IReadOnlyList<KeyEntry>> KeysAsync(CancellationToken cancellationToken)
    {
        try
        {
            var keys = await Repository.ListKeysAsync(cancellationToken);
            return keys.Select(key => new KeyEntry(key.Slot, NameOf(key.Role), key.Kind, key.Label, key.Created, key.Domain)).ToList();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    /// <summary>Adds a key; needs a full one that opens the repository already. Returns the new slot's name.</summary>
    public async Task<string> AddKeyAsync(RepositoryAccess existing, NewKeyRequest added, CancellationToken cancellationToken)
    {
        RefuseUnlessEncrypted();
        if (added.Domain is not null)
            KeyDomains.Check(added.Domain);
        var newKey = added.Access.KeyFile is { } file && !File.Exists(file) ? file : null;
        try
        {
            if (newKey is not null)
                await WriteKeyFileAsync(newKey, cancellationToken);
            var key = new NewKey
            {
                Credentials = ReadCredentials(added.Access),
                Role = added.IsMaintenance ? KeyRole.Maintenance : added.Domain is null ? KeyRole.Full : KeyRole.Domain,
                Domain = added.Domain ?? "",
                Label = added.Label,
            };
            return await Repository.AddKeyAsync(ReadCredentials(existing), key, cancellationToken);
        }
        catch (Exception e)
        {
            if (newKey is not null)
                File.Delete(newKey);
            if (e is OperationCanceledException)
                throw;
            throw e is InvalidOperationException ? EngineException.Usage(e.Message) : Failures.Translate(e);
        }
    }

    /// <summary>Removes a key slot; the last full one stays.</summary>
    public async Task RemoveKeyAsync(string slot, CancellationToken cancellationToken)
    {
        RefuseUnlessEncrypted();
        try
        {
            await Repository.RemoveKeyAsync(slot, cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    /// <summary>The recovery sheet's text.</summary>
    public async Task<string> ExportKeyAsync(RepositoryAccess existing, CancellationToken cancellationToken)
    {
        RefuseUnlessEncrypted();
        try
        {
            return await Repository.ExportAsync(ReadCredentials(existing), cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw Failures.Translate(e);
        }
    }

    private static string NameOf(KeyRole? role) => role switch
    {
        KeyRole.Full => "full",
        KeyRole.Maintenance => "maintenance",
        KeyRole.Domain => "domain",
        _ => "unknown",
    };

    private void RefuseUnlessEncrypted()
    {
        if (!Repository.IsEncrypted)
            throw EngineException.Usage($"The repository in '{Url}' is not encrypted; it has no keys.");
    }
}
