// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Tidemark.Blocks;

namespace Tidemark.Storage;

/// <summary>How a repository is made.</summary>
public sealed record InitOptions
{
    /// <summary>What will open it; <see cref="Credentials.None"/> for no encryption.</summary>
    public required Credentials Credentials { get; init; }

    /// <summary>The store has no atomic create: only this writer ever writes here (docs/format.md section 10a).</summary>
    public bool SingleWriter { get; init; }

    /// <summary>A word for people beside the key slot.</summary>
    public string Label { get; init; } = "";

    /// <summary>Rounds of PBKDF2; fewer than the default only for tests.</summary>
    internal int Iterations { get; init; } = KeySlot.MinIterations;
}

/// <summary>How a repository is opened.</summary>
public sealed record OpenOptions
{
    /// <summary>This host as a writer; by default derived from its machine id.</summary>
    public WriterId? Writer { get; init; }

    /// <summary>This host's name, as run objects tell it to people.</summary>
    public string Host { get; init; } = Environment.MachineName;

    /// <summary>The clock of heartbeats and of times shown to people.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Where the repository's work runs; another one only for tests.</summary>
    internal TaskScheduler Scheduler { get; init; } = TaskScheduler.Default;

    /// <summary>Makes the ids of runs; another one only for tests.</summary>
    internal Func<RunId> NewRun { get; init; } = RunId.New;

    /// <summary>Which process this is and which are gone; another one only for tests.</summary>
    internal ProcessTable Processes { get; init; } = ProcessTable.OfHost;
}

/// <summary>
/// An open repository (docs/format.md): the entry to everything in this room. Safe from any thread. Does not own the store.
/// </summary>
public sealed partial class Repository : IDisposable
{
    private const int MaxConfig = 64 << 10;
    private const int MaxSlot = 64 << 10;
    private readonly RepositoryContext _context;

    private Repository(RepositoryContext context) => _context = context;

    /// <summary>What the tests of records of later programs need.</summary>
    internal RepositoryContext Context => _context;

    public Guid Id => _context.Id;

    public bool IsEncrypted => _context.Keys.IsEncrypted;

    /// <summary>What the key that opened it allows.</summary>
    public KeyRole Role => _context.Keys.Role;

    /// <summary>The key domain that backups go to when none is said: that of the key, or the one without a name.</summary>
    public string Domain => _context.Keys.Domain;

    /// <summary>Whether the key opens the disks of a key domain.</summary>
    public bool Opens(string domain) => Role == KeyRole.Full || (Role == KeyRole.Domain && domain == Domain);

    /// <summary>This host among the repository's writers.</summary>
    public WriterId Writer => _context.Writer;

    /// <summary>Creates a repository in a store that holds none; the store is probed first.</summary>
    /// <exception cref="RepositoryExistsException">There is one already, or other objects.</exception>
    /// <exception cref="StoreUnsuitableException">The store can't keep the format's promises.</exception>
    public static async Task<Repository> InitAsync(
        IObjectStore store, InitOptions init, OpenOptions open, CancellationToken cancellationToken)
    {
        await RefuseForeignAsync(store, cancellationToken);
        await store.ProbeAsync(cancellationToken);
        var (id, master) = init.Credentials.Sheet ?? (Guid.NewGuid(), RandomNumberGenerator.GetBytes(RepositoryKeys.KeySize));
        var encrypted = init.Credentials != Credentials.None;
        var keys = new RepositoryKeys(master, id, encrypted);
        if (encrypted && init.Credentials.Sheet is null)
            await PutSlotAsync(store, new SlotSecret(KeyRole.Full, master), id, init, open.Clock, cancellationToken);
        string[] features = init.SingleWriter ? [ConfigFile.SingleWriter] : [];
        var config = new ConfigDocument
        {
            Format = ConfigFile.CurrentFormat,
            Features = new FeatureSets { Write = features, Collect = features },
            SingleWriter = init.SingleWriter ? WriterOf(open, id).ToString() : null,
            Id = id.ToString("N"),
            Created = open.Clock.GetUtcNow(),
            Encryption = encrypted ? ConfigFile.Aes : ConfigFile.NoEncryption,
            PublicMaster = encrypted ? null : Convert.ToHexStringLower(master),
        };
        if (!await store.PutIfAbsentAsync(ObjectNames.Config, ConfigFile.Write(config, keys), cancellationToken))
            throw new RepositoryExistsException($"Another repository was created in '{store.Description}' at the same time.");
        return Of(config, ContextOf(store, keys, id, open));
    }

    /// <summary>Opens a repository.</summary>
    /// <exception cref="RepositoryNotFoundException">There is none.</exception>
    /// <exception cref="FormatTooNewException">A newer program made it.</exception>
    /// <exception cref="WrongKeyException">No slot opens with these credentials.</exception>
    /// <exception cref="RepositoryDamagedException">Its config is damaged.</exception>
    public static async Task<Repository> OpenAsync(
        IObjectStore store, Credentials credentials, OpenOptions open, CancellationToken cancellationToken)
    {
        var content = await store.TryReadAllAsync(ObjectNames.Config, MaxConfig, cancellationToken)
            ?? throw new RepositoryNotFoundException(store.Description);
        var config = ConfigFile.Read(content);
        await foreach (var feature in store.ListAsync(ObjectNames.Features, cancellationToken))
        {
            if (feature.Key.StartsWith(ObjectNames.Features + "read/", StringComparison.Ordinal)
                && ObjectNames.ParseDomain(feature.Key) is null)
                throw new FormatTooNewException($"The repository needs '{feature.Key}' for reading, which this program does not know.");
        }

        var id = Guid.ParseExact(config.Id, "N");
        var encrypted = config.Encryption != ConfigFile.NoEncryption;
        var keys = encrypted
            ? RepositoryKeys.Of(await FindSecretAsync(store, id, credentials, cancellationToken), id)
            : new RepositoryKeys(ParseMaster(config.PublicMaster), id, encrypted: false);
        ConfigFile.CheckMac(content, keys);
        return Of(config, ContextOf(store, keys, id, open));
    }

    /// <summary>Whether the repository in a store was made for a single writer, so that the store must be opened as for one; null when
    /// there is no repository. Needs no key.</summary>
    /// <exception cref="RepositoryDamagedException">Its config is damaged.</exception>
    public static async Task<bool?> IsSingleWriterAsync(IObjectStore store, CancellationToken cancellationToken) =>
        await TryReadConfigAsync(store, cancellationToken) is { } config ? config.SingleWriter is not null : null;

    /// <summary>Which repository a store holds; null when there is none. Needs no key.</summary>
    /// <exception cref="RepositoryDamagedException">Its config is damaged.</exception>
    public static async Task<Guid?> IdOfAsync(IObjectStore store, CancellationToken cancellationToken) =>
        await TryReadConfigAsync(store, cancellationToken) is { } config ? Guid.ParseExact(config.Id, "N") : null;

    private static async Task<ConfigDocument?> TryReadConfigAsync(IObjectStore store, CancellationToken cancellationToken)
    {
        try
        {
            // One request, and one whose failure says what is wrong; the answer to a HEAD has no room for that.
            var content = new byte[MaxConfig];
            var read = await store.ReadAsync(ObjectNames.Config, 0, content, cancellationToken);
            return ConfigFile.Read(content.AsSpan(0, read));
        }
        catch (ObjectMissingException)
        {
            return null;
        }
    }

    /// <summary>Opens a disk of a restore point for reading, unprotected from a collector: see <see cref="BeginReadAsync"/>.</summary>
    /// <exception cref="KeyRoleException">The key does not open the point's key domain.</exception>
    public DiskReader OpenDisk(PointDisk disk) => new(_context.In(disk.Domain), disk.Tree);

    /// <summary>Opens an attachment for reading in parts.</summary>
    /// <exception cref="KeyRoleException">The key does not open the point's key domain.</exception>
    public DiskReader OpenFile(PointFile file) => new(_context.In(file.Domain), file.Tree);

    /// <summary>The whole content of an attachment.</summary>
    /// <exception cref="RepositoryDamagedException">It is damaged.</exception>
    public async Task<byte[]> ReadFileAsync(PointFile file, CancellationToken cancellationToken)
    {
        await using var reader = OpenFile(file);
        var content = new byte[file.Size];
        await reader.ReadAsync(0, content, cancellationToken);
        return content;
    }

    /// <summary>The root that a disk's content has in a key domain: equal roots, equal content (I8). Reports bytes covered.</summary>
    /// <exception cref="KeyRoleException">The key does not open that domain.</exception>
    public Task<BlobId> RootOfAsync(
        IBlockSource source, int chunkLog2, string domain, IProgress<long>? progress, CancellationToken cancellationToken) =>
        TreeHasher.RootAsync(_context.In(domain), source, new TreeShape(source.Size, chunkLog2), progress, cancellationToken);

    /// <summary>Settles how a run ended; see <see cref="RunFence"/>.</summary>
    public ValueTask<RunEnd> FenceAsync(MachineId machine, RunId run, CancellationToken cancellationToken) =>
        RunFence.FenceAsync(_context.Store, machine, run, cancellationToken);

    public void Dispose() => _context.Dispose();

    private static async Task RefuseForeignAsync(IObjectStore store, CancellationToken cancellationToken)
    {
        if (await store.HeadAsync(ObjectNames.Config, cancellationToken) is not null)
            throw new RepositoryExistsException($"There is a repository in '{store.Description}' already.");
        await foreach (var info in store.ListAsync("", cancellationToken))
        {
            // Key slots and probes without a config are what a crashed init leaves.
            if (!info.Key.StartsWith(ObjectNames.Keys, StringComparison.Ordinal)
                && !info.Key.StartsWith("probe/", StringComparison.Ordinal))
                throw new RepositoryExistsException($"'{store.Description}' is not empty: it holds '{info.Key}'.");
        }
    }

    private static async Task<string> PutSlotAsync(
        IObjectStore store, SlotSecret secret, Guid id, InitOptions init, TimeProvider clock, CancellationToken cancellationToken)
    {
        var slot = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
        var content = KeySlot.Create(secret, slot, id, init.Credentials, init.Label, init.Iterations, clock.GetUtcNow());
        if (!await store.PutIfAbsentAsync(ObjectNames.Keys + slot, content, cancellationToken))
            throw new StoreException($"Key slot '{slot}' exists already in '{store.Description}'.", isTransient: true);
        return slot;
    }

    // The first full slot that opens, else one of a domain that does, else one of maintenance.
    private static async Task<SlotSecret> FindSecretAsync(
        IObjectStore store, Guid id, Credentials credentials, CancellationToken cancellationToken)
    {
        if (credentials == Credentials.None)
            throw new WrongKeyException($"The repository in '{store.Description}' is encrypted; a password or key file is required.");
        if (credentials.Sheet is { } sheet)
        {
            return sheet.Repository == id ? new SlotSecret(KeyRole.Full, sheet.Master) : throw new WrongKeyException(
                $"The recovery sheet is of repository '{sheet.Repository:N}'; the one in '{store.Description}' is '{id:N}'.");
        }

        SlotSecret? best = null;
        var slots = 0;
        await foreach (var info in store.ListAsync(ObjectNames.Keys, cancellationToken))
        {
            if (await store.TryReadAllAsync(info, MaxSlot, cancellationToken) is not { } content)
                continue;
            slots++;
            if (ParseSlot(content) is not { } slot
                || KeySlot.TryOpen(slot, info.Key[ObjectNames.Keys.Length..], id, credentials) is not { } secret)
                continue;
            if (secret.Role == KeyRole.Full)
                return secret;
            if (best is not { Role: KeyRole.Domain })
                best = secret;
        }

        if (best is { } lesser)
            return lesser;

        var what = credentials.Password is null ? "key file" : "password";
        throw new WrongKeyException($"The {what} opens none of the {slots} key slots of the repository in '{store.Description}'.");
    }

    private static KeySlotDocument? ParseSlot(byte[] content)
    {
        try
        {
            return FormatJson.Read(content, FormatJson.Default.KeySlotDocument);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static byte[] ParseMaster(string? hex)
    {
        if (hex?.Length != 2 * RepositoryKeys.KeySize)
            throw new RepositoryDamagedException(ObjectNames.Config, "a public master of 64 hex digits", $"'{hex}'");
        return Convert.FromHexString(hex);
    }

    private static Repository Of(ConfigDocument config, RepositoryContext context) => new(context)
    {
        _writeFeature = config.Features.Write.FirstOrDefault(name => name != ConfigFile.SingleWriter),
        _singleWriter = config.SingleWriter,
        _collectFeature = config.Features.Collect.FirstOrDefault(name => name != ConfigFile.SingleWriter),
    };

    private static RepositoryContext ContextOf(IObjectStore store, RepositoryKeys keys, Guid id, OpenOptions open) =>
        new(store, keys, WriterOf(open, id), id, open.Host, open.Clock)
        {
            Scheduler = open.Scheduler,
            NewRun = open.NewRun,
            Processes = open.Processes,
        };

    private static WriterId WriterOf(OpenOptions open, Guid repository)
    {
        const string MachineIdFile = "/etc/machine-id";
        if (open.Writer is { } given)
            return given;
        var host = File.Exists(MachineIdFile) ? File.ReadAllText(MachineIdFile).Trim() : Environment.MachineName;
        byte[] bytes = [.. "tdm1/writer"u8, .. repository.ToByteArray(bigEndian: true), .. Encoding.UTF8.GetBytes(host)];
        return WriterId.From(SHA256.HashData(bytes));
    }
}
