// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using Tidemark.Libvirt;
using Tidemark.Nbd;
using Tidemark.Qemu;
using Tidemark.Storage;

namespace Tidemark.Engine;

/// <summary>What the rooms below the engine throw, as failures a user can act on. What is not known here is our own mistake.</summary>
public static class Failures
{
    public static EngineException Translate(Exception failure) => failure switch
    {
        EngineException known => known,
        AggregateException { InnerExceptions: [var only] } => Translate(only),
        RepositoryDamagedException { DamagedObject: var key } when key.StartsWith("points/", StringComparison.Ordinal) =>
            new EngineException(
                FailureKind.Damaged, failure.Message, $"tidemark forget --damaged {key["points/".Length..]} gives it up", failure),
        RepositoryDamagedException => new EngineException(
            FailureKind.Damaged, failure.Message, "tidemark verify --level data", failure),
        RepositoryNotFoundException => EngineException.Failed(failure.Message, "tidemark init", failure),
        WrongKeyException => EngineException.Failed(failure.Message, "--password-file or --key-file", failure),
        KeyRoleException => EngineException.Failed(
            failure.Message, "--password-file or --key-file of a key that opens it: tidemark key list", failure),
        KeyRemovalException => EngineException.Failed(failure.Message, "tidemark key list", failure),
        FormatTooNewException => EngineException.Failed(failure.Message, "use the newer version of tidemark", failure),
        CollectionRefusedException => EngineException.Failed(
            failure.Message, "tidemark gc --dry-run shows what would go; --max-delete PERCENT allows more", failure),
        PointGoneException => EngineException.Failed(failure.Message, "tidemark list", failure),
        RunRevokedException or BaseUnusableException => EngineException.Failed(failure.Message, "run the backup again", failure),
        LibvirtMissingException => EngineException.Failed(failure.Message, "apt-get install libvirt0", failure),
        StoreException { Hint: { } hint } => EngineException.Failed(failure.Message, hint, failure),
        RepositoryExistsException or CommitUnknownException or StoreException or LibvirtException or NbdException
            or ImageToolException or IOException or UnauthorizedAccessException or Win32Exception =>
            EngineException.Failed(failure.Message, inner: failure),
        _ => EngineException.Failed(
            $"Something that should not happen did: {failure.GetType().Name}: {failure.Message}",
            "-v -v shows where; please report it",
            failure),
    };
}
