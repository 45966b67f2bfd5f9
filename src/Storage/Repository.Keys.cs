// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A key slot as people see it.</summary>
/// <param name="Slot">Its name, 16 hex digits.</param>
/// <param name="Kind">How its secret is made.</param>
/// <param name="Role">What it opens; null for a role this program does not know.</param>
/// <param name="Label">A word for people.</param>
/// <param name="Created">By the clock of whoever made it.</param>
/// <param name="Domain">Of role domain: which.</param>
public sealed record KeyInfo(string Slot, string Kind, KeyRole? Role, string Label, DateTimeOffset Created, string? Domain);

/// <summary>A slot to add.</summary>
public sealed record NewKey
{
    public required Credentials Credentials { get; init; }

    public KeyRole Role { get; init; }

    /// <summary>Of role domain: which one; it is registered if it is new.</summary>
    public string Domain { get; init; } = "";

    public string Label { get; init; } = "";

    /// <summary>Rounds of PBKDF2; fewer than the default only for tests.</summary>
    internal int Iterations { get; init; } = KeySlot.MinIterations;
}

public sealed partial class Repository
{
    /// <summary>Adds a full slot; see the other.</summary>
    public Task AddKeyAsync(Credentials existing, Credentials added, string label, CancellationToken cancellationToken) =>
        AddKeyAsync(existing, new NewKey { Credentials = added, Label = label }, cancellationToken);

    /// <summary>Adds a slot: <paramref name="added"/> opens the repository too from now on. Returns its name.</summary>
    /// <exception cref="WrongKeyException"><paramref name="existing"/> opens no slot.</exception>
    /// <exception cref="KeyRoleException"><paramref name="existing"/> is no full key.</exception>
    /// <exception cref="InvalidOperationException">The repository is not encrypted, or the new key is a recovery sheet.</exception>
    public async Task<string> AddKeyAsync(Credentials existing, NewKey added, CancellationToken cancellationToken)
    {
        if (added.Credentials.Sheet is not null || added.Credentials == Credentials.None)
            throw new InvalidOperationException("A new key is a password or a key file.");
        var master = await FindMasterAsync(existing, cancellationToken);
        var secret = SecretOf(added, RepositoryKeys.Of(master, Id), master);
        if (added.Role == KeyRole.Domain)
            await KeyDomain.RegisterAsync(_context.Store, added.Domain, cancellationToken);
        var slot = new InitOptions { Credentials = added.Credentials, Label = added.Label, Iterations = added.Iterations };
        return await PutSlotAsync(_context.Store, secret, Id, slot, _context.Clock, cancellationToken);
    }

    /// <summary>The slots of this repository, oldest first.</summary>
    public async Task<IReadOnlyList<KeyInfo>> ListKeysAsync(CancellationToken cancellationToken)
    {
        var keys = new List<KeyInfo>();
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Keys, cancellationToken))
        {
            if (await _context.Store.TryReadAllAsync(info, MaxSlot, cancellationToken) is { } content
                && ParseSlot(content) is { } slot && slot.Repository == Id.ToString("N"))
                keys.Add(new KeyInfo(
                    info.Key[ObjectNames.Keys.Length..], KeySlot.Describe(slot), KeySlot.RoleOf(slot), slot.Label, slot.Created,
                    slot.Domain));
        }

        return [.. keys.OrderBy(key => key.Created)];
    }

    /// <summary>Removes a slot. Whoever kept a copy of it, or of what it opened, keeps that.</summary>
    /// <exception cref="KeyRemovalException">There is no such slot, or it is the last full one.</exception>
    /// <exception cref="StoreException">The store does not let this host delete.</exception>
    public async Task RemoveKeyAsync(string slot, CancellationToken cancellationToken)
    {
        var keys = await ListKeysAsync(cancellationToken);
        if (keys.FirstOrDefault(key => key.Slot == slot) is not { } removed)
            throw new KeyRemovalException($"The repository in '{_context.Store.Description}' has no key slot '{slot}'.");
        if (removed.Role == KeyRole.Full && keys.Count(key => key.Role == KeyRole.Full) == 1)
            throw new KeyRemovalException($"Key slot '{slot}' is the last of role 'full'; without it nothing could be restored.");
        await _context.Store.DeleteAsync(ObjectNames.Keys + slot, cancellationToken);
    }

    /// <summary>The text of a recovery sheet: it opens the repository without a slot.</summary>
    /// <exception cref="KeyRoleException"><paramref name="existing"/> is no full key.</exception>
    public async Task<string> ExportAsync(Credentials existing, CancellationToken cancellationToken)
    {
        var master = await FindMasterAsync(existing, cancellationToken);
        return RecoverySheet.Write(Id, master.Bytes, _context.Store.Description, _context.Clock.GetUtcNow());
    }

    private static SlotSecret SecretOf(NewKey added, RepositoryKeys keys, SlotSecret master)
    {
        if (added.Role != KeyRole.Domain)
            return added.Role == KeyRole.Full ? master : new SlotSecret(KeyRole.Maintenance, keys.MaintenanceSecret);
        if (!KeyDomain.IsValid(added.Domain))
            throw new InvalidOperationException(
                $"'{added.Domain}' is no name of a key domain; 1 to 64 of a-z, 0-9 and '-', not starting with '-', are.");
        return new SlotSecret(KeyRole.Domain, keys.In(added.Domain).DomainSecret, added.Domain);
    }

    private async Task<SlotSecret> FindMasterAsync(Credentials existing, CancellationToken cancellationToken)
    {
        if (!IsEncrypted)
            throw new InvalidOperationException("The repository is not encrypted; it has no keys.");
        var secret = await FindSecretAsync(_context.Store, Id, existing, cancellationToken);
        return secret.Role switch
        {
            KeyRole.Full => secret,
            KeyRole.Domain => throw new KeyRoleException(
                $"The key given opens key domain '{secret.Domain}' only; a key of the role 'full' is required."),
            _ => throw new KeyRoleException(),
        };
    }
}
